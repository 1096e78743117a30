package fake

import (
	"slices"
	"strings"
)

// matches reports whether a filter matches a subject: `*` matches one token, and `>` at the end one or more.
func matches(filter, subject string) bool {
	for {
		f, moreFilter, restFilter := cutToken(filter)
		s, moreSubject, restSubject := cutToken(subject)
		switch {
		case f == ">" && !moreFilter:
			return true
		case f != s && f != "*", moreFilter != moreSubject:
			return false
		case !moreFilter:
			return true
		}
		filter, subject = restFilter, restSubject
	}
}

func cutToken(s string) (token string, more bool, rest string) {
	token, rest, more = strings.Cut(s, ".")
	return token, more, rest
}

func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

func matchesAny(filters []string, subject string) bool {
	return len(filters) == 0 || slices.ContainsFunc(filters, func(f string) bool { return matches(f, subject) })
}

// passes reports whether a consumer with a filter delivers a message that the stream finds by that filter. A subject
// may have a token `>`, which no `*` of a consumer's filter matches.
func passes(filter, subject string) bool {
	return filter == "" || filter == subject || strings.HasSuffix(filter, ">") ||
		!slices.Contains(strings.Split(subject, "."), ">")
}
