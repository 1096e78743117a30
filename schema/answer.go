package schema

import (
	"encoding/json"
	"time"
)

// Status is a vendor status. Anything that is not terminal is pending, also a value that is not listed here.
type Status string

// MaxStatusBytes is the length up to which a status is taken for one.
const MaxStatusBytes = 64

// The status values of the vendor's documentation and SDKs.
const (
	StatusDeclared              Status = "declared"
	StatusFilePendingUpload     Status = "filePendingUpload"
	StatusFileUploading         Status = "fileUploading"
	StatusFileUploaded          Status = "fileUploaded"
	StatusFileUploadFailed      Status = "fileUploadFailed"
	StatusFilePendingDownload   Status = "filePendingDownload"
	StatusFileDownloading       Status = "fileDownloading"
	StatusFileDownloaded        Status = "fileDownloaded"
	StatusFileDownloadFailed    Status = "fileDownloadFailed"
	StatusFilePendingProcessing Status = "filePendingProcessing"
	StatusProcessing            Status = "processing"
	StatusProcessed             Status = "processed"
	StatusProcessingFailed      Status = "processingFailed"
)

// Statuses lists all of them.
func Statuses() []Status {
	return []Status{
		StatusDeclared, StatusFilePendingUpload, StatusFileUploading, StatusFileUploaded, StatusFileUploadFailed,
		StatusFilePendingDownload, StatusFileDownloading, StatusFileDownloaded, StatusFileDownloadFailed,
		StatusFilePendingProcessing, StatusProcessing, StatusProcessed, StatusProcessingFailed,
	}
}

// Listed tells whether s is one of [Statuses].
func (s Status) Listed() bool {
	switch s {
	case StatusDeclared, StatusFilePendingUpload, StatusFileUploading, StatusFileUploaded, StatusFileUploadFailed,
		StatusFilePendingDownload, StatusFileDownloading, StatusFileDownloaded, StatusFileDownloadFailed,
		StatusFilePendingProcessing, StatusProcessing, StatusProcessed, StatusProcessingFailed:
		return true
	}
	return false
}

// Answer is what the vendor said about an interaction.
type Answer struct {
	// Status is the member `status`.
	Status Status
	// ErrorMessage is the member `errorMessage`: its text, or its JSON where it is no string. It is empty where the vendor
	// sent null or nothing.
	ErrorMessage string
	// Raw is the whole answer as it came, where it is a JSON object that can be handed on.
	Raw json.RawMessage
	// Payload is the answer as it came where Raw is empty: it is not valid JSON, or larger than a message can carry. It
	// has the first bytes of a longer answer.
	Payload []byte
}

// Fault names what stood in the way of an answer.
type Fault string

// The faults of a status request. [FaultOf] finds one in an error.
const (
	// FaultNotFound: the vendor does not know the interaction (404 with a JSON object).
	FaultNotFound Fault = "not_found"
	// FaultUnauthorized: the vendor refused the token (401, 403).
	FaultUnauthorized Fault = "unauthorized"
	// FaultThrottled: too many requests (429).
	FaultThrottled Fault = "throttled"
	// FaultRejected: the vendor refused this interaction (400, 409, 410, 418, 422, 423, 424 and 451 with a JSON object).
	FaultRejected Fault = "rejected"
	// FaultUnavailable: 5xx, any other 4xx, a time-out, no connection, a redirect.
	FaultUnavailable Fault = "unavailable"
	// FaultNotAStatus: an answer that the vendor's API does not give: wrong type, not JSON, another identifier, or a
	// refusal without a JSON object.
	FaultNotAStatus Fault = "not_a_status"
	// FaultNotSent: the request was not sent, because it could no longer be sent in time.
	FaultNotSent Fault = "not_sent"
)

// Faults lists all of them.
func Faults() []Fault {
	return []Fault{FaultNotFound, FaultUnauthorized, FaultThrottled, FaultRejected, FaultUnavailable, FaultNotAStatus, FaultNotSent}
}

// Refusal tells whether the vendor answered, but refused the interaction. It may be meant: see [Refusals].
func (f Fault) Refusal() bool { return f == FaultNotFound || f == FaultRejected }

// PollError is the error of a status request: what kind of fault it was, and what the vendor said about coming back.
type PollError struct {
	Fault Fault
	// StatusCode is the HTTP status, or 0 where there was no answer.
	StatusCode int
	// RetryAt is when the vendor wants to be asked again (Retry-After), or zero.
	RetryAt time.Time
	// TokenRenewed says that the vendor refused a token that is not in use any more: the next request has another.
	TokenRenewed bool
	// Detail says in one line what happened, without the token.
	Detail string
	// Err is the cause, if there is one.
	Err error
}

func (e *PollError) Error() string { return e.Detail }

// Unwrap gives the cause.
func (e *PollError) Unwrap() error { return e.Err }
