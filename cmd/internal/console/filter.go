package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"statusworker/publisher/dlq"
	"statusworker/schema"
)

// filterForm is a filter of dead letters as forms and addresses have it. Its values are those that the user entered.
type filterForm struct {
	Reasons, Types []string
	OlderThan      string
	NewerThan      string
	Detail         string
	// AllReasons and AllTypes are the values to choose from.
	AllReasons, AllTypes []string
	// names are the selected dead letters, and asOf is the moment of the selection.
	names []string
	asOf  string
}

// readFilter reads a filter from a query or a form.
func readFilter(r *http.Request) filterForm {
	_ = r.ParseForm() // without it the values that can be read are used
	f := filterForm{
		Reasons: given(r.Form["reason"]), Types: given(r.Form["type"]), names: given(r.Form["id"]),
		OlderThan: strings.TrimSpace(r.Form.Get("older-than")), NewerThan: strings.TrimSpace(r.Form.Get("newer-than")),
		Detail: strings.TrimSpace(r.Form.Get("detail")), asOf: r.Form.Get("as-of"),
	}
	for _, reason := range schema.Reasons() {
		f.AllReasons = append(f.AllReasons, string(reason))
	}
	for _, t := range schema.Types() {
		f.AllTypes = append(f.AllTypes, string(t))
	}
	return f
}

// given returns the values that are not empty.
func given(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
}

// filter returns the filter.
func (f filterForm) filter() (dlq.Filter, error) {
	filter := dlq.Filter{Names: f.names, Detail: f.Detail}
	for _, r := range f.Reasons {
		filter.Reasons = append(filter.Reasons, schema.Reason(r))
	}
	for _, t := range f.Types {
		filter.Types = append(filter.Types, schema.Type(t))
	}
	for _, age := range []struct {
		name, text string
		to         *time.Duration
	}{{"older than", f.OlderThan, &filter.OlderThan}, {"newer than", f.NewerThan, &filter.NewerThan}} {
		if age.text == "" {
			continue
		}
		d, err := schema.ParseDuration(age.text)
		if err != nil {
			return filter, &problem{http.StatusBadRequest, fmt.Sprintf(
				"The age %q of %q is not a duration: enter one such as 30m, 24h or 14d.", age.text, age.name), err}
		}
		*age.to = d
	}
	if f.asOf != "" {
		moment, err := readMoment(f.asOf)
		if err != nil {
			return filter, err
		}
		filter.AsOf = moment
	}
	if invalid := (*dlq.FilterError)(nil); errors.As(filter.Check(), &invalid) {
		return filter, refused(invalid)
	}
	return filter, nil
}

// Query returns the filter as a query, without names.
func (f filterForm) Query() string { return f.values().Encode() }

func (f filterForm) values() url.Values {
	v := url.Values{}
	for _, r := range f.Reasons {
		v.Add("reason", r)
	}
	for _, t := range f.Types {
		v.Add("type", t)
	}
	for name, value := range map[string]string{
		"older-than": f.OlderThan, "newer-than": f.NewerThan, "detail": f.Detail,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// Active reports whether the filter excludes anything.
func (f filterForm) Active() bool { return len(f.values()) > 0 }

// Hidden returns the fields of a form that repeat the filter, in order.
func (f filterForm) Hidden() (fields [][2]string) {
	v := f.values()
	v["id"] = f.names
	for _, name := range []string{"reason", "type", "older-than", "newer-than", "detail", "id"} {
		for _, value := range v[name] {
			fields = append(fields, [2]string{name, value})
		}
	}
	return fields
}

// Command returns the arguments of `statusworker dlq` for the same selection.
func (f filterForm) Command() string {
	v := f.values()
	var words []string
	for _, name := range []string{"reason", "type", "older-than", "newer-than", "detail"} {
		if len(v[name]) > 0 {
			words = append(words, "--"+name+" "+quotedForShell(strings.Join(v[name], ",")))
		}
	}
	words = append(words, f.names...)
	if len(words) == 0 {
		return "--all"
	}
	return strings.Join(words, " ")
}

// quotedForShell quotes a word for a shell, if it needs that.
func quotedForShell(word string) string {
	plain := func(r rune) bool {
		return r == ',' || r == '_' || r == '-' || r == '.' || r == '@' ||
			'0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// A moment in a form is the last sequence and the time in nanoseconds.

func writeMoment(m dlq.Moment) string { return fmt.Sprintf("%d-%d", m.Last, m.Now.UnixNano()) }

func readMoment(text string) (dlq.Moment, error) {
	last, at, _ := strings.Cut(text, "-")
	sequence, err := strconv.ParseUint(last, 10, 64)
	if err == nil {
		var nanoseconds int64
		if nanoseconds, err = strconv.ParseInt(at, 10, 64); err == nil {
			return dlq.Moment{Last: sequence, Now: time.Unix(0, nanoseconds)}, nil
		}
	}
	return dlq.Moment{}, &problem{http.StatusBadRequest, "as-of is " + schema.Quote(text) +
		": must be the value of the page before.", err}
}
