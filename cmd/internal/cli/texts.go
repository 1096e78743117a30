package cli

import (
	"strings"

	"github.com/alecthomas/kong"
)

// newParser is [kong.New], with variables in help texts.
//
// Kong applies a regular expression to every text, and for each flag to every variable, which takes most of the time of
// a short command. So the variables are replaced here, and kong sees only the help texts with variables of its own,
// such as ${enum}. It gets the version, which its flag prints, when all texts are complete.
func newParser(grammar any, version string, vars map[string]string, options ...kong.Option) (*kong.Kong, error) {
	var pairs []string
	for name, value := range vars {
		pairs = append(pairs, "${"+name+"}", value)
	}
	replacer := strings.NewReplacer(pairs...)
	ready := map[*string]string{}
	k, err := kong.New(grammar, append(options, kong.PostBuild(func(k *kong.Kong) error {
		eachHelp(k.Model.Node, func(help *string) {
			if *help = replacer.Replace(*help); !strings.Contains(*help, "$") {
				ready[help], *help = *help, ""
			}
		})
		return nil
	}))...)
	if err != nil {
		return nil, err
	}
	for help, text := range ready {
		*help = text
	}
	k.Model.HelpFlag.Help = "Show this help."
	return k, kong.Vars{"version": version}.Apply(k)
}

// eachHelp calls do for the help of a command, of its flags and arguments, and of all below it.
func eachHelp(node *kong.Node, do func(help *string)) {
	do(&node.Help)
	for _, flag := range node.Flags {
		do(&flag.Help)
	}
	for _, argument := range node.Positional {
		do(&argument.Help)
	}
	for _, child := range node.Children {
		eachHelp(child, do)
	}
}
