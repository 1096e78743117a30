package simulator

import (
	"time"

	"statusworker/schema"
)

// interaction is the vendor's state of an interaction.
type interaction struct {
	script   Script
	declared time.Time
	began    time.Time // when the script begins
	audio    bool      // has transcripts
	ai       bool      // has CX AI results

	awaitsUpload bool
	uploaded     time.Time
}

func (i *interaction) reached(step Step, speed float64) time.Time {
	return i.began.Add(time.Duration(float64(step.After) / speed))
}

// status returns the current step of an interaction.
func (i *interaction) status(now time.Time, speed float64) Step {
	if i.awaitsUpload {
		return Step{Status: schema.StatusFilePendingUpload}
	}
	current := Step{Status: schema.StatusDeclared}
	for _, step := range i.script.Steps {
		if i.reached(step, speed).After(now) {
			break
		}
		current = step
	}
	if !i.uploaded.IsZero() {
		current.Status = asUploaded(current.Status)
	}
	return current
}

// asUploaded returns the status of a posted file for the status of a fetched file, which scripts use.
func asUploaded(s schema.Status) schema.Status {
	switch s {
	case schema.StatusFilePendingDownload, schema.StatusFileDownloading:
		return schema.StatusFileUploading
	case schema.StatusDeclared, schema.StatusFileDownloaded:
		return schema.StatusFileUploaded
	case schema.StatusFileDownloadFailed:
		return schema.StatusFileUploadFailed
	}
	return s
}

// statusAnswer is the vendor's answer, members in the vendor's order.
type statusAnswer struct {
	Identifier   string  `json:"identifier"`
	Status       string  `json:"status"`
	Declared     string  `json:"declared"`
	Uploaded     *string `json:"uploaded"`
	Downloaded   *string `json:"downloaded"`
	Processed    *string `json:"processed"`
	ErrorMessage *string `json:"errorMessage"`
}

func (i *interaction) answer(identifier string, now time.Time, speed float64) statusAnswer {
	current := i.status(now, speed)
	a := statusAnswer{Identifier: identifier, Status: string(current.Status), Declared: microseconds(i.declared)}
	if !i.uploaded.IsZero() {
		a.Uploaded = new(microseconds(i.uploaded))
	}
	if current.ErrorMessage != "" {
		a.ErrorMessage = &current.ErrorMessage
	}
	if i.awaitsUpload {
		return a
	}
	for _, step := range i.script.Steps {
		at := i.reached(step, speed)
		if at.After(now) {
			break
		}
		switch {
		case step.Status == schema.StatusFileDownloaded && i.uploaded.IsZero():
			a.Downloaded = new(microseconds(at))
		case step.Status == schema.StatusProcessed:
			a.Processed = new(milliseconds(at))
		}
	}
	return a
}

// The vendor's sample has six decimals in some members and three in another.
func microseconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
func milliseconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
