package simulator

import (
	"hash/fnv"
	"net/http"
	"strconv"
	"time"
)

// Kind is what a fault does to a request.
type Kind string

// The kinds of faults.
const (
	// Delayed only delays; every other kind can be delayed as well.
	Delayed Kind = "delayed"
	// Refused answers Fault.Code with a JSON error body, and Retry-After where one is set.
	Refused Kind = "refused"
	// Hangs never answers. It ends with the request, or with the simulator.
	Hangs Kind = "hangs"
	// Reset breaks the connection with a TCP RST before a byte of the answer.
	Reset Kind = "reset"
	// Truncated breaks the connection in the middle of the answer's body.
	Truncated Kind = "truncated"
	// WrongType sends the answer as text/html.
	WrongType Kind = "wrong type"
	// WrongIdentifier sends an answer about another interaction.
	WrongIdentifier Kind = "wrong identifier"
	// NotJSON sends, as application/json, what is none.
	NotJSON Kind = "not json"
	// Gzipped sends the right answer, compressed, however small it is and whether it was asked for or not.
	Gzipped Kind = "gzipped"
	// Huge sends 10 MB of JSON.
	Huge Kind = "huge"
	// Redirected sends the client to Fault.Location.
	Redirected Kind = "redirected"
	// OtherStatus sends the right answer with Fault.Status as its status.
	OtherStatus Kind = "other status"
	// Foreign sends Fault.Body as Fault.ContentType with Fault.Code, as a gateway or another API would.
	Foreign Kind = "foreign"
	// Odd sends the right answer with Fault.Prefix before it and Fault.Members in it.
	Odd Kind = "odd"
	// Unsolicited sends the right answer, and then on the same connection what nobody asked for: the token.
	Unsolicited Kind = "unsolicited"
)

// Fault is trouble that a request meets.
type Fault struct {
	Kind Kind
	// First and Last say which polls of an interaction it meets, counted from 1; zero means no limit on that side.
	// Requests that are no polls count as before the first.
	First, Last int
	// Share is the part of these that it meets, between 0 and 1; zero means all. Which ones depends on [Config.Seed],
	// identifier and number of the poll alone: two runs meet the same.
	Share float64
	// Only says which interactions it meets; nil means all. It is called with a lock held: it must not call the
	// simulator.
	Only func(identifier string) bool
	// Delay passes before anything is answered. It is real time: Speed does not shorten it.
	Delay time.Duration
	// Code is for [Refused] and [Foreign].
	Code int
	// RetryAfter is the value of a Retry-After header; empty means none. RetryAt is the same, as an HTTP date.
	RetryAfter string
	RetryAt    time.Time
	// Location is for [Redirected].
	Location string
	// Status is for [OtherStatus].
	Status string
	// ContentType and Body are for [Foreign].
	ContentType, Body string
	// Prefix and Members are for [Odd]: bytes before the answer, such as a byte order mark, and members as they are
	// written, such as `"errorMessage":{"code":"E1"}`, which takes the place of the answer's own errorMessage.
	Prefix, Members string
}

// ByteOrderMark is a [Fault.Prefix].
const ByteOrderMark = "\ufeff"

// Page refuses every request with code and a page of HTML, as a gateway before the vendor does.
func Page(code int) Fault {
	return Fault{
		Kind:        Foreign,
		Code:        code,
		ContentType: "text/html",
		Body:        "<html><body>" + http.StatusText(code) + "</body></html>",
	}
}

// NoSuchResource refuses every request as an API answers an address that it does not have.
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

// Throttle refuses every request with 429 and that many seconds, rounded up, as Retry-After.
func Throttle(wait time.Duration) Fault {
	seconds := int64((wait + time.Second - 1) / time.Second)
	return Fault{Kind: Refused, Code: 429, RetryAfter: strconv.FormatInt(seconds, 10)}
}

// ThrottleUntil refuses every request with 429 and a date as Retry-After.
func ThrottleUntil(t time.Time) Fault { return Fault{Kind: Refused, Code: 429, RetryAt: t} }

// On limits f to the polls first to last of an interaction.
func (f Fault) On(first, last int) Fault {
	f.First, f.Last = first, last
	return f
}

// Sometimes limits f to a share of what it meets.
func (f Fault) Sometimes(share float64) Fault {
	f.Share = share
	return f
}

// name is how a [Poll] and [Counts] call f.
func (f Fault) name() string {
	if f.Kind == Refused {
		return strconv.Itoa(f.Code)
	}
	return string(f.Kind)
}

func (f Fault) meets(seed uint64, position int, identifier string, number int) bool {
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
	_, _ = h.Write(b[:]) // a hash takes everything
	_, _ = h.Write([]byte(identifier))
	return float64(mix(h.Sum64())>>11)/(1<<53) < f.Share
}

// mix spreads the bits of h: FNV alone leaves the upper ones of similar inputs alike.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func firstThatMeets(faults []Fault, seed uint64, identifier string, number int) (Fault, bool) {
	for i, f := range faults {
		if f.meets(seed, i, identifier, number) {
			return f, true
		}
	}
	return Fault{}, false
}
