package cli

import (
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// ownPrefixes begin the names of the variables that nobody else reads, and natsPrefix those that the nats command reads
// as well.
var ownPrefixes = []string{"STATUSWORKER_", "ELEVATEAI_"}

const natsPrefix = "NATS_"

var (
	// notFlags are variables with such a name that are read elsewhere: by the tests, by deploy/compose.yaml and by the
	// nats command. What the latter connects by is not among them: who sets it expects the same of this program.
	notFlags = regexp.MustCompile(`^(STATUSWORKER_(TEST_\w+|REQUIRE_ENGINE|IMAGE)|NATS_(IMAGE|PORT|TIMEOUT|COLOR))$`)
	// ofAService are those that Kubernetes and Docker give a container for a service, such as one with the name
	// statusworker.
	ofAService = regexp.MustCompile(
		`^\w+_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|^\w+_PORT=(tcp|udp|sctp)://`,
	)
)

// warnOfUnknownVariables warns of variables that look like this program's and do nothing, such as one with a typing
// error.
func warnOfUnknownVariables(p Process, flags []*kong.Flag, all *kong.Application) {
	f := LogFlags{LogLevel: "info", LogFormat: "auto"}
	for _, flag := range flags {
		switch flag.Name {
		case "log-level":
			f.LogLevel = flag.Target.String()
		case "log-format":
			f.LogFormat = flag.Target.String()
		}
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

// FlagsBelow are the flags of a command and of its commands.
func FlagsBelow(node *kong.Node) []*kong.Flag {
	flags := slices.Clone(node.Flags)
	for _, child := range node.Children {
		flags = append(flags, FlagsBelow(child)...)
	}
	return flags
}

// UnknownVariables are those with one of the own prefixes, in any case of letters, that are not among the known ones.
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

// otherWords are names that others give to what a variable of this program is for.
var otherWords = map[string]string{"NATS_TOKEN": "NATS_USER", "NATS_SERVER": "NATS_URL", "NATS_SERVERS": "NATS_URL"}

// nearest is the known name that somebody may have meant, or nothing. Names with the same prefix come first; that of
// another is possible as well, unless it says that it is about NATS.
func nearest(name string, known []string) string {
	name = strings.ToUpper(name)
	if other, ok := otherWords[name]; ok {
		return other
	}
	if rest, ok := strings.CutPrefix(name, natsPrefix); ok {
		var rests []string
		for _, k := range known {
			if r, ok := strings.CutPrefix(k, natsPrefix); ok {
				rests = append(rests, r)
			}
		}
		if near := nearest(rest, rests); near != "" {
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

// within reports whether a name is the longer one with something before or after it left out.
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

// distance is how many characters have to be put in, taken away or changed to make a into b.
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
