package simulator

import (
	"slices"
	"time"

	"statusworker/schema"
)

// Step is one status of a script.
type Step struct {
	Status schema.Status
	// After is when the status begins, relative to the declaration (or to the upload, if one is required). It is
	// divided by [Config.Speed].
	After time.Duration
	// ErrorMessage is the answer's errorMessage; empty means null.
	ErrorMessage string
}

// Script is the statuses of an interaction in the order of time, and the faults of its polls. Before the first step the
// status is declared.
type Script struct {
	Steps  []Step
	Faults []Fault
}

// With returns a copy of the script with additional faults.
func (s Script) With(faults ...Fault) Script {
	s.Faults = append(slices.Clip(s.Faults), faults...)
	return s
}

// path is the usual statuses before the final one, at equal intervals.
var path = []schema.Status{
	schema.StatusDeclared, schema.StatusFilePendingDownload, schema.StatusFileDownloading, schema.StatusFileDownloaded,
	schema.StatusFilePendingProcessing, schema.StatusProcessing,
}

func toward(end schema.Status, after time.Duration, message string) Script {
	var s Script
	for i, status := range path {
		s.Steps = append(s.Steps, Step{Status: status, After: after * time.Duration(i) / time.Duration(len(path))})
	}
	s.Steps = append(s.Steps, Step{Status: end, After: after, ErrorMessage: message})
	return s
}

// Processed returns a script with the vendor's usual statuses that ends in [schema.StatusProcessed] after a time.
func Processed(after time.Duration) Script { return toward(schema.StatusProcessed, after, "") }

// Failed returns a script that ends in a status such as [schema.StatusProcessingFailed] after a time.
func Failed(status schema.Status, after time.Duration) Script {
	return toward(status, after, "simulated: "+string(status))
}

// Never returns a script that stays in [schema.StatusProcessing].
func Never() Script { return Constant(schema.StatusProcessing) }

// Constant returns a script of one status, known or not.
func Constant(status schema.Status) Script { return Script{Steps: []Step{{Status: status}}} }
