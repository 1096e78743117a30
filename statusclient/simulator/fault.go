package simulator

import (
	"hash/fnv"
	"net/http"
	"strconv"
	"time"
)

// Kind is the effect of a fault on a request.
type Kind string

// The kinds of faults.
const (
	// Delayed only delays the answer; every other kind can be delayed, too.
	Delayed Kind = "delayed"
	// Refused answers with the status Fault.Code, a JSON error body, and Retry-After if set.
	Refused Kind = "refused"
	// Hangs never answers, until the request or the simulator ends.
	Hangs Kind = "hangs"
	// Reset closes the connection with a TCP RST before the answer.
	Reset Kind = "reset"
	// Truncated closes the connection in the middle of the answer's body.
	Truncated Kind = "truncated"
	// WrongType answers with text/html.
	WrongType Kind = "wrong type"
	// WrongIdentifier answers about another interaction.
	WrongIdentifier Kind = "wrong identifier"
	// NotJSON answers with application/json, but a body that is not JSON.
	NotJSON Kind = "not json"
	// Gzipped compresses the answer, of any size, even if the client does not accept that.
	Gzipped Kind = "gzipped"
	// Huge answers with 10 MB of JSON.
	Huge Kind = "huge"
	// Redirected redirects the client to Fault.Location.
	Redirected Kind = "redirected"
	// OtherStatus answers with Fault.Status as the status.
	OtherStatus Kind = "other status"
	// Foreign answers with the status Fault.Code and Fault.Body of type Fault.ContentType, as a gateway or another API.
	Foreign Kind = "foreign"
	// Odd adds Fault.Prefix before the answer and Fault.Members to it.
	Odd Kind = "odd"
	// Unsolicited sends data with the token on the connection after the answer.
	Unsolicited Kind = "unsolicited"
)

// Fault changes the answers to some requests.
type Fault struct {
	Kind Kind
	// First and Last limit the fault to polls of an interaction, counted from 1; 0 is no limit. Requests other than
	// polls have the number 0.
	First, Last int
	// Share is the share of these requests that have the fault, between 0 and 1; 0 means all. Which ones depends only
	// on [Config.Seed], the identifier and the number of the poll, and is the same in every run.
	Share float64
	// Only limits the fault to interactions; nil means all. It is called with a lock held, and must not call the
	// simulator.
	Only func(identifier string) bool
	// Delay is the delay before the answer, in real time: Speed does not apply.
	Delay time.Duration
	// Code is for [Refused] and [Foreign].
	Code int
	// RetryAfter is the value of Retry-After; empty means none. RetryAt is an alternative: an HTTP date.
	RetryAfter string
	RetryAt    time.Time
	// Location is for [Redirected].
	Location string
	// Status is for [OtherStatus].
	Status string
	// ContentType and Body are for [Foreign].
	ContentType, Body string
	// Prefix and Members are for [Odd]: bytes before the answer, such as a byte order mark, and members as JSON text,
	// such as `"errorMessage":{"code":"E1"}`, which replaces the answer's errorMessage.
	Prefix, Members string
}

// ByteOrderMark is a value for [Fault.Prefix].
const ByteOrderMark = "\ufeff"

// Page refuses every request with code and an HTML page, as a gateway does.
func Page(code int) Fault {
	return Fault{
		Kind:        Foreign,
		Code:        code,
		ContentType: "text/html",
		Body:        "<html><body>" + http.StatusText(code) + "</body></html>",
	}
}

// NoSuchResource refuses every request like an API that does not have the path.
func NoSuchResource() Fault {
	return Fault{
		Kind:        Foreign,
		Code:        http.StatusNotFound,
		ContentType: "application/json",
		Body:        `{"message":"no such resource"}`,
	}
}

// Refusal refuses every request with code.
func Refusal(code int) Fault { return Fault{Kind: Refused, Code: code} }

// Throttle refuses every request with 429 and Retry-After in seconds, rounded up.
func Throttle(wait time.Duration) Fault {
	seconds := int64((wait + time.Second - 1) / time.Second)
	return Fault{Kind: Refused, Code: http.StatusTooManyRequests, RetryAfter: strconv.FormatInt(seconds, 10)}
}

// ThrottleUntil refuses every request with 429 and a date as Retry-After.
func ThrottleUntil(t time.Time) Fault {
	return Fault{Kind: Refused, Code: http.StatusTooManyRequests, RetryAt: t}
}

// On limits f to the polls from first to last of an interaction.
func (f Fault) On(first, last int) Fault {
	f.First, f.Last = first, last
	return f
}

// Sometimes limits f to a share of its requests.
func (f Fault) Sometimes(share float64) Fault {
	f.Share = share
	return f
}

// name returns the name of f in [Poll] and [Counts].
func (f Fault) name() string {
	if f.Kind == Refused {
		return strconv.Itoa(f.Code)
	}
	return string(f.Kind)
}

// matches reports whether a request has the fault.
func (f Fault) matches(seed uint64, position int, identifier string, number int) bool {
	if number < f.First || f.Last > 0 && number > f.Last || f.Only != nil && !f.Only(identifier) {
		return false
	}
	if f.Share <= 0 || f.Share >= 1 {
		return true
	}
	h := fnv.New64a()
	var b [24]byte
	for i := range 8 {
		b[i], b[8+i], b[16+i] = byte(seed>>(8*i)), byte(position>>(8*i)), byte(number>>(8*i))
	}
	_, _ = h.Write(b[:]) // never returns an error
	_, _ = h.Write([]byte(identifier))
	return float64(mix(h.Sum64())>>11)/(1<<53) < f.Share
}

// mix distributes the bits of h: FNV gives similar upper bits for similar inputs.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// firstMatch returns the first fault that a request has.
func firstMatch(faults []Fault, seed uint64, identifier string, number int) (Fault, bool) {
	for i, f := range faults {
		if f.matches(seed, i, identifier, number) {
			return f, true
		}
	}
	return Fault{}, false
}
