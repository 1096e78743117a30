package desk

import "statusworker/schema"

// Explanation says in words what a reason means, and what an operator can do.
type Explanation struct{ What, Do string }

// Explain gives the explanation of a reason.
func Explain(r schema.Reason) Explanation {
	e, ok := explanations[r]
	if !ok {
		return Explanation{
			What: "This stage has no such reason: somebody else published the message.",
			Do:   "Find out who publishes on interactions.failed.> and take that right away; then purge it.",
		}
	}
	return e
}

var explanations = map[schema.Reason]Explanation{
	schema.InvalidMessage: {
		What: "What was published is no declared message; the detail names the member that is wrong.",
		Do:   "Mend the producer and declare the interaction properly, which needs no replay; then purge this. Replay only what a newer version of statusworker accepts.",
	},
	schema.ProcessingFailed: {
		What: "ElevateAI could not process the interaction, and has deleted its source data.",
		Do:   "Read the vendor's errorMessage. Declaring the same interaction again gives the same answer: declare the file at ElevateAI anew, which gives a new identifier, and purge this.",
	},
	schema.FileUploadFailed: {
		What: "The file that was posted to ElevateAI did not arrive whole.",
		Do:   "Upload it again. If ElevateAI accepts that under the same identifier, replay; otherwise declare it at ElevateAI anew, and purge this.",
	},
	schema.FileDownloadFailed: {
		What: "ElevateAI could not fetch the file from its downloadUri.",
		Do:   "Check that the address can be reached from outside and has not expired; declare it at ElevateAI anew, and purge this.",
	},
	schema.VendorFailed: {
		What: "ElevateAI gave a status that --failed-status names as a failure; the detail has it.",
		Do:   "Read the vendor's errorMessage, and ask ElevateAI what the status means. Where it can still change, take it out of --failed-status and replay; otherwise declare the file at ElevateAI anew, and purge this.",
	},
	schema.NotFound: {
		What: "ElevateAI did not know the identifier at three polls in a row or more, over the whole grace.",
		Do:   "Check that the token belongs to the account that declared it, that the base URL is whole (the vendor's ends in /v1), and that nobody deleted it. Where token or URL were wrong, set them right and replay.",
	},
	schema.Rejected: {
		What: "ElevateAI refused the interaction in the same way at three polls in a row or more, over the whole grace.",
		Do:   "Read the vendor's answer in the detail. Where the API has changed, or the refusal was a mistake, replay when it is fixed.",
	},
	schema.DeadlineExceeded: {
		What: "The interaction was not terminal when its deadline had passed; the last status or fault is in the detail.",
		Do:   "Where the vendor was in trouble, or has become slow, replay: the deadline begins anew. Raise --deadline if this is usual.",
	},
}
