// Package manpage formats the commands and flags of a program as a manual page, in the macros of man(7).
package manpage

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"statusworker/cmd/internal/cli"
)

// common is the number of commands with the same flag from which on the flag is described once for all of them.
const common = 3

// maxLine is the maximum length of a line in bytes.
const maxLine = 78

// Page returns the manual page of a program. epoch is the date of the page in seconds since 1970; "" is none.
func Page(all *kong.Application, version, epoch string) string {
	date := ""
	if seconds, err := strconv.ParseInt(epoch, 10, 64); err == nil {
		date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	}
	p := page{count: map[string]int{}}
	for _, flag := range cli.FlagsBelow(all.Node) {
		p.count[identity(flag)]++
	}
	p.macro("TH", strings.ToUpper(all.Name), "1", date, escaped(all.Name+" "+version), "User Commands")
	p.macro("nh") // names of variables stay whole
	p.macro("ad", "l")
	p.macro("SH", "NAME")
	p.text(all.Name + ` \- ` + escaped(strings.TrimSuffix(strings.ToLower(all.Help[:1])+all.Help[1:], ".")))
	p.macro("SH", "SYNOPSIS")
	p.text(`\fB` + all.Name + `\fR \fICOMMAND\fR [\fIFLAG\fR ...]`)
	p.macro("SH", "DESCRIPTION")
	p.text(escaped(all.Help))
	p.macro("PP")
	p.text(escaped("The sections below list the flags of each command, and then those that several commands share. A " +
		"flag overrides its environment variable, and a variable overrides the configuration file (--config)."))
	p.macro("SH", "COMMANDS")
	p.commands(all.Node, all.Name)
	p.macro("SH", "COMMON FLAGS")
	p.commonFlags(all.Node)
	p.macro("SH", "EXIT STATUS")
	for _, status := range [][2]string{
		{"0", "Success; for run, an orderly shutdown."},
		{"1", "A fault; for show, an unknown interaction; for status --check, advice."},
		{"2", "Bad configuration: one line on standard error names the setting, its value and what is allowed."},
	} {
		p.item(status[0], status[1])
	}
	p.macro("SH", "SIGNALS")
	p.text(escaped("On SIGTERM, SIGINT or SIGHUP a worker stops pulling, finishes polls in flight and exits. " +
		"A second signal exits within 2 seconds. Neither loses an interaction."))
	return p.b.String()
}

type page struct {
	b     strings.Builder
	count map[string]int // of the commands with the same flag
}

// identity is what two flags have in common that a page describes once.
func identity(flag *kong.Flag) string { return flag.Name + "\x00" + flag.Help + "\x00" + flag.Default }

// macro writes a line with a macro and its arguments, which are already escaped.
func (p *page) macro(name string, args ...string) {
	p.b.WriteString("." + name)
	for _, arg := range args {
		if arg == "" || strings.Contains(arg, " ") {
			arg = `"` + arg + `"`
		}
		p.b.WriteString(" " + arg)
	}
	p.b.WriteByte('\n')
}

// text writes a paragraph that is already escaped, in lines of less than 80 bytes where words allow it.
func (p *page) text(text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > maxLine {
			p.b.WriteString(line + "\n")
			line = ""
		}
		switch {
		case line != "":
			line += " " + word
		case strings.HasPrefix(word, "."):
			line = `\&` + word
		default:
			line = word
		}
	}
	p.b.WriteString(line + "\n")
}

func (p *page) item(title, text string) {
	p.macro("TP")
	p.text(`\fB` + escaped(title) + `\fR`)
	p.text(escaped(text))
}

// escaped returns a text that roff shows as it is.
func escaped(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, `"`, `\(dq`, "^", `\(ha`, "~", `\(ti`,
		"\n", " ").Replace(text)
}

// commands writes the commands below a node, with the flags that few others have.
func (p *page) commands(at *kong.Node, path string) {
	for _, node := range at.Children {
		if node.Hidden || node.Type != kong.CommandNode {
			continue
		}
		path := path + " " + node.Name
		if !node.Leaf() {
			p.commands(node, path)
			continue
		}
		title := path
		for _, arg := range node.Positional {
			title += " " + arg.Summary()
		}
		p.macro("SS", escaped(title))
		p.text(escaped(node.Help))
		for _, arg := range node.Positional {
			p.item(arg.Summary(), arg.Help)
		}
		var groups []string
		for _, flag := range node.Flags {
			switch {
			case flag.Hidden || flag.Name == "help":
			case p.count[identity(flag)] >= common:
				if name := groupOf(flag); len(groups) == 0 || groups[len(groups)-1] != name {
					groups = append(groups, name)
				}
			default:
				p.flag(flag)
			}
		}
		if len(groups) > 0 {
			p.macro("PP")
			p.text(escaped("Common flags: " + strings.Join(groups, ", ") + "."))
		}
	}
}

func groupOf(flag *kong.Flag) string {
	if flag.Group == nil || flag.Group.Title == "" {
		return "--" + flag.Name
	}
	return flag.Group.Title
}

// commonFlags writes the flags that many commands have, in the order of their first command.
func (p *page) commonFlags(at *kong.Node) {
	done, group := map[string]bool{}, ""
	for _, flag := range cli.FlagsBelow(at) {
		id := identity(flag)
		if flag.Hidden || done[id] || p.count[id] < common && !slices.Contains(at.Flags, flag) {
			continue
		}
		done[id] = true
		if name := groupOf(flag); flag.Group != nil && name != group {
			group = name
			p.macro("SS", escaped(name))
		}
		p.flag(flag)
	}
}

func (p *page) flag(flag *kong.Flag) {
	title := `\fB` + escaped("--"+flag.Name) + `\fR`
	if flag.Short != 0 {
		title = `\fB` + escaped("-"+string(flag.Short)) + `\fR, ` + title
	}
	if !flag.IsBool() {
		title += ` \fI` + escaped(placeholder(flag)) + `\fR`
	}
	help, _, _ := strings.Cut(flag.Help, " [$")
	var notes []string
	if flag.Default != "" {
		notes = append(notes, "Default: "+flag.Default+".")
	}
	if variable := flag.Tag.Get("var"); variable != "" {
		notes = append(notes, "Variable: "+variable+".")
	}
	p.macro("TP")
	p.text(title)
	p.text(escaped(strings.Join(append([]string{help}, notes...), " ")))
}

// placeholder returns the name of a flag's value.
func placeholder(flag *kong.Flag) string {
	switch {
	case flag.PlaceHolder != "":
		return flag.PlaceHolder
	case flag.Enum != "":
		return strings.Join(flag.EnumSlice(), "|")
	case flag.Target.Type() == reflect.TypeFor[time.Duration]():
		return "DURATION"
	case flag.Target.Kind() == reflect.String:
		return "VALUE"
	}
	return "N"
}
