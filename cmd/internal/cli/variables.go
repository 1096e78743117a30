package cli

import (
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// ownPrefixes begin the names of variables that only this program reads. The nats command also reads variables with
// natsPrefix.
var ownPrefixes = []string{"STATUSWORKER_", "ELEVATEAI_"}

const natsPrefix = "NATS_"

var (
	// notFlags matches variables with such a prefix that others read: the tests, deploy/compose.yaml and the nats
	// command. It excludes the variables by which the nats command connects: a user expects this program to read them.
	notFlags = regexp.MustCompile(`^(STATUSWORKER_(TEST_\w+|REQUIRE_ENGINE|IMAGE)|NATS_(IMAGE|PORT|TIMEOUT|COLOR))$`)
	// ofAService matches the variables that Kubernetes and Docker set in a container for each service, for example for
	// one named statusworker.
	ofAService = regexp.MustCompile(
		`^\w+_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|^\w+_PORT=(tcp|udp|sctp)://`,
	)
)

// warnOfUnknownVariables logs variables with one of this program's prefixes that no flag reads, such as one with a
// typo.
func warnOfUnknownVariables(p Process, flags []*kong.Flag, all *kong.Application) {
	f, ok := logFlagsOf(p, flags)
	if !ok {
		f = LogFlags{LogLevel: "info", LogFormat: "auto"}
	}
	log, err := f.Logger(p)
	if err != nil {
		return // the command reports it
	}
	var known []string
	for _, flag := range FlagsBelow(all.Node) {
		if name := flag.Tag.Get("var"); name != "" {
			known = append(known, name)
		}
	}
	for _, name := range UnknownVariables(p.Environ, known) {
		log := log.WithField("variable", name)
		if near := nearest(name, known); near != "" {
			log = log.WithField("did_you_mean", near)
		}
		log.Warn("unknown environment variable is ignored")
	}
}

// FlagsBelow returns the flags of a command and of all commands below it.
func FlagsBelow(node *kong.Node) []*kong.Flag {
	flags := slices.Clone(node.Flags)
	for _, child := range node.Children {
		flags = append(flags, FlagsBelow(child)...)
	}
	return flags
}

// UnknownVariables returns the variables with one of this program's prefixes, in upper or lower case, that are not
// known.
func UnknownVariables(environ, known []string) (unknown []string) {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		own := slices.ContainsFunc(append(ownPrefixes, natsPrefix), func(prefix string) bool {
			return strings.HasPrefix(strings.ToUpper(name), prefix)
		})
		if !own || Trimmed(value) == "" || slices.Contains(known, name) || notFlags.MatchString(name) ||
			ofAService.MatchString(variable) {
			continue
		}
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	return unknown
}

// otherWords maps names that users expect to the variable that this program reads.
var otherWords = map[string]string{"NATS_SERVER": "NATS_URL", "NATS_SERVERS": "NATS_URL"}

// nearest returns the known name that was probably meant, or "". Names with the same prefix are preferred. A name with
// the prefix NATS_ only matches others with that prefix.
func nearest(name string, known []string) string {
	name = strings.ToUpper(name)
	if other, ok := otherWords[name]; ok {
		return other
	}
	if suffix, ok := strings.CutPrefix(name, natsPrefix); ok {
		var suffixes []string
		for _, k := range known {
			if s, ok := strings.CutPrefix(k, natsPrefix); ok {
				suffixes = append(suffixes, s)
			}
		}
		if near := nearest(suffix, suffixes); near != "" {
			return natsPrefix + near
		}
		return ""
	}
	stem := stemOf(name)
	best, least := "", 0
	for _, k := range known {
		of := stemOf(k)
		d := distance(stem, of)
		if within(stem, of) || within(of, stem) {
			d = min(d, 2)
		}
		if d > max(2, len(stem)*2/5) {
			continue
		}
		if d *= 2; strings.TrimSuffix(name, stem) != strings.TrimSuffix(k, of) {
			d++
		}
		if best == "" || d < least {
			best, least = k, d
		}
	}
	return best
}

// within reports whether a name is the longer name without its beginning or its end.
func within(name, longer string) bool {
	return strings.HasSuffix(longer, "_"+name) || strings.HasPrefix(longer, name+"_") ||
		len(name) > 3 && strings.HasPrefix(longer, name)
}

func stemOf(name string) string {
	for _, prefix := range ownPrefixes {
		name = strings.TrimPrefix(name, prefix)
	}
	return name
}

// distance returns the Levenshtein distance of a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
