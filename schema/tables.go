package schema

// Only the tables of this file define what vendor statuses, faults, reasons and destinations mean. Decisions, metric
// labels, the simulator, the demo, the commands and the documents use them. Rows have no field names, so that a missing
// field is a compile error. Tests find constants without a row, and documents that lack one.

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

// statuses has each status, its meaning, the reason of the dead letter if it is a failure, and a sentence for
// operators.
var statuses = []statusRow{
	{StatusDeclared, Pending, "", "The interaction is created at ElevateAI."},
	{StatusFilePendingUpload, Pending, "", "ElevateAI is waiting for the upload of the file."},
	{StatusFileUploading, Pending, "", "The file is being uploaded to ElevateAI."},
	{StatusFileUploaded, Pending, "", "The file is uploaded."},
	{StatusFileUploadFailed, Failed, FileUploadFailed, "ElevateAI did not receive the complete file."},
	{StatusFilePendingDownload, Pending, "", "ElevateAI has not started to fetch the file."},
	{StatusFileDownloading, Pending, "", "ElevateAI is fetching the file."},
	{StatusFileDownloaded, Pending, "", "ElevateAI has fetched the file."},
	{StatusFileDownloadFailed, Failed, FileDownloadFailed, "ElevateAI could not fetch the file."},
	{StatusFilePendingProcessing, Pending, "", "The file is waiting to be processed."},
	{StatusProcessing, Pending, "", "ElevateAI is processing the interaction."},
	{StatusProcessed, Processed, "", "ElevateAI has the results."},
	{StatusProcessingFailed, Failed, ProcessingFailed, "ElevateAI could not process the interaction."},
}

// The faults of a status request.
const (
	// FaultNotFound: the vendor does not know the interaction (404 with a JSON object).
	FaultNotFound Fault = "not_found"
	// FaultUnauthorized: the vendor rejected the token (401, 403).
	FaultUnauthorized Fault = "unauthorized"
	// FaultThrottled: too many requests (429).
	FaultThrottled Fault = "throttled"
	// FaultRejected: the vendor refused this interaction (400, 409, 410, 418, 422, 423, 424 and 451 with a JSON
	// object). It is also the fault if the identifier is invalid: then no request was sent, and the HTTP status is 0.
	FaultRejected Fault = "rejected"
	// FaultUnavailable: 5xx, any other 4xx, a timeout, no connection, a redirect.
	FaultUnavailable Fault = "unavailable"
	// FaultNotAStatus: an answer that is not of the vendor's API: a wrong content type, no JSON, another identifier, or
	// a refusal without a JSON object.
	FaultNotAStatus Fault = "not_a_status"
	// FaultNotSent: the request was not sent, for example because its latest time to be sent had passed.
	FaultNotSent Fault = "not_sent"
)

// faults has each fault, and for a refusal the reason of the dead letter when it is confirmed, and the beginning of its
// detail.
var faults = []faultRow{
	{FaultNotFound, NotFound, "ElevateAI did not know the interaction"},
	{FaultUnauthorized, "", ""},
	{FaultThrottled, "", ""},
	{FaultRejected, Rejected, "ElevateAI refused the interaction"},
	{FaultUnavailable, "", ""},
	{FaultNotAStatus, "", ""},
	{FaultNotSent, "", ""},
}

// The reasons of dead letters.
const (
	InvalidMessage     Reason = "invalid_message"
	ProcessingFailed   Reason = "processing_failed"
	FileUploadFailed   Reason = "file_upload_failed"
	FileDownloadFailed Reason = "file_download_failed"
	VendorFailed       Reason = "vendor_failed"
	NotFound           Reason = "not_found"
	Rejected           Reason = "rejected"
	DeadlineExceeded   Reason = "deadline_exceeded"
	InternalError      Reason = "internal_error"
)

// reasons has each reason, its cause, what it means, and what the operator can do.
var reasons = []reasonRow{
	{InvalidMessage, ByMessage,
		"The message is not a valid declared message. The detail says what is not valid.",
		"Fix the producer and declare the interaction with a valid message; then purge this dead letter. " +
			"Replay only if a newer version of statusworker accepts the message."},
	{ProcessingFailed, ByVendor,
		"ElevateAI could not process the interaction and has deleted its source data.",
		"Read ElevateAI's errorMessage. A replay gets the same answer: create the interaction at ElevateAI " +
			"again, declare its new identifier, and purge this dead letter."},
	{FileUploadFailed, ByVendor,
		"ElevateAI did not receive the complete file that was uploaded.",
		"Upload the file again. Replay if ElevateAI accepts it under the same identifier; " +
			"otherwise create the interaction at ElevateAI again, declare its new identifier, and purge this dead " +
			"letter."},
	{FileDownloadFailed, ByVendor,
		"ElevateAI could not fetch the file from its downloadUri.",
		"Check that the address is reachable from outside and has not expired. " +
			"Create the interaction at ElevateAI again, declare its new identifier, and purge this dead letter."},
	{VendorFailed, ByFailedStatus,
		"ElevateAI gave a status that --failed-status names as a failure. The detail has the status.",
		"Read ElevateAI's errorMessage, and ask ElevateAI what the status means. If it can still change, remove it " +
			"from --failed-status and replay; otherwise create the interaction at ElevateAI again, declare its " +
			"new identifier, and purge this dead letter."},
	{NotFound, ByVendor,
		"ElevateAI did not know the identifier at three or more consecutive polls, over the whole grace period.",
		"Check that the token belongs to the ElevateAI account in which the interaction was created, that the base " +
			"URL is complete (ElevateAI's ends in /v1), and that the interaction was not deleted. " +
			"If the token or the URL was wrong, correct it and replay."},
	{Rejected, ByVendor,
		"ElevateAI refused the interaction with the same HTTP status at three or more consecutive polls, " +
			"over the whole grace period.",
		"Read ElevateAI's answer in the detail. " +
			"If the API changed or the refusal was a mistake, replay when it is fixed."},
	{DeadlineExceeded, ByDeadline,
		"The interaction had no final status at its deadline. " +
			"The detail has the last status, or why the last poll got none.",
		"If ElevateAI was failing or has become slow, replay: the deadline starts again. " +
			"Raise --deadline if this is common."},
	{InternalError, ByPanic,
		"A worker panicked at three consecutive deliveries of the interaction, or at one after its deadline. " +
			"This is a bug in statusworker.",
		"Report the detail and the log line `delivery panicked` with its stack. " +
			"Replay with a version that fixes the bug."},
}

// The destinations of processed events.
const (
	// ToTranscript: the next step fetches the transcript.
	ToTranscript Destination = "transcript"
	// ToCXAI: the next step fetches the CX AI results.
	ToCXAI Destination = "cxai"
	// Unrouted: the interaction is processed, and has nothing to fetch.
	Unrouted Destination = "unrouted"
)

// IncludeAIResults is the flag of [ToCXAI].
const IncludeAIResults Flag = "includeAiResults"

// destinations has each destination in the order of publishing, the types that have such results, the flag of a
// declaration that selects it, and the flag's default. Unrouted has no types: it is used if no other destination is.
var destinations = []destinationRow{
	{ToTranscript, []Type{Audio}, "", true},
	{ToCXAI, []Type{Audio, Chat, Transcript}, IncludeAIResults, true},
	{Unrouted, nil, "", true},
}
