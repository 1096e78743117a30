package simulator

import (
	"slices"
	"time"

	"statusworker/schema"
)

// Step is one status of an interaction's life.
type Step struct {
	Status schema.Status
	// After is when the status begins, counted from the declaration (or from the upload, where one is awaited), before
	// the division by [Config.Speed].
	After time.Duration
	// ErrorMessage is the answer's errorMessage; empty means null.
	ErrorMessage string
}

// Script is an interaction's life, steps in order of time, and the faults that its polls meet. Before its first step
// an interaction is declared.
type Script struct {
	Steps  []Step
	Faults []Fault
}

// With gives a copy of the script with faults added.
func (s Script) With(faults ...Fault) Script {
	s.Faults = append(slices.Clip(s.Faults), faults...)
	return s
}

// The statuses on the way to the end, at equal distances.
var way = []schema.Status{
	schema.StatusDeclared, schema.StatusFilePendingDownload, schema.StatusFileDownloading, schema.StatusFileDownloaded,
	schema.StatusFilePendingProcessing, schema.StatusProcessing,
}

func toward(end schema.Status, after time.Duration, message string) Script {
	var s Script
	for i, status := range way {
		s.Steps = append(s.Steps, Step{Status: status, After: after * time.Duration(i) / time.Duration(len(way))})
	}
	s.Steps = append(s.Steps, Step{Status: end, After: after, ErrorMessage: message})
	return s
}

// Processed is a life that goes the vendor's usual way and is processed after that time.
func Processed(after time.Duration) Script { return toward(schema.StatusProcessed, after, "") }

// Failed is a life that ends in a status such as [schema.StatusProcessingFailed] after that time.
func Failed(status schema.Status, after time.Duration) Script {
	return toward(status, after, "simulated: "+string(status))
}

// Never is a life that stays in processing.
func Never() Script { return Constant(schema.StatusProcessing) }

// Constant is a life in one status, listed or not.
func Constant(status schema.Status) Script { return Script{Steps: []Step{{Status: status}}} }
