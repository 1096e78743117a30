// Package completion completes command lines in shells. A script for each shell asks the program itself, so that the
// answer fits its version.
package completion

import (
	_ "embed"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Files is the line that asks the shell to complete names of files.
const Files = ":files"

//go:embed scripts/bash
var bash string

//go:embed scripts/zsh
var zsh string

//go:embed scripts/fish
var fish string

// Scripts are the scripts, by the name of the shell.
var Scripts = map[string]string{"bash": bash, "zsh": zsh, "fish": fish}

// Complete returns the lines that a script reads: the ways to continue the last of the words, each with its help after
// a tab, and [Files]. The words follow the name of the program. The last one may be empty.
func Complete(all *kong.Application, words []string) (lines []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	line := parse(all.Node, words[:len(words)-1])
	last := words[len(words)-1]
	if last == "=" && line.flag != nil { // bash makes it a word of its own
		last = ""
	}
	name, value, joined := strings.Cut(last, "=")
	switch {
	case line.flag != nil:
		return valuesOf(line.flag.Value, "", last)
	case !line.ended && joined && strings.HasPrefix(last, "--"):
		if flag := line.find(name); flag != nil {
			return valuesOf(flag.Value, name+"=", value)
		}
		return nil
	case !line.ended && strings.HasPrefix(last, "-"):
		return line.flags(last)
	}
	if line.passesOn() {
		return Complete(all, []string{last})
	}
	return line.commands(last)
}

// commandLine is what the words before the last one mean.
type commandLine struct {
	node       *kong.Node
	flag       *kong.Flag // whose value follows
	used       []*kong.Flag
	positional int  // arguments so far
	ended      bool // by --
}

func parse(root *kong.Node, words []string) commandLine {
	line := commandLine{node: root}
	for i, word := range words {
		switch child := below(line.node, word); {
		case word == "=":
		case line.flag != nil:
			line.flag = nil
		case !line.ended && word == "--":
			line.ended = true
		case !line.ended && len(word) > 1 && word[0] == '-':
			line.takeFlag(word)
		case child != nil:
			line.node = child
		case line.passesOn():
			return parse(root, words[i:])
		default:
			if at := line.node.Positional; line.positional < len(at) && !at[line.positional].IsSlice() {
				line.positional++
			}
		}
	}
	return line
}

func (l *commandLine) takeFlag(word string) {
	name, _, joined := strings.Cut(word, "=")
	flag := l.find(name)
	if flag == nil {
		return
	}
	l.used = append(l.used, flag)
	if !joined && !flag.IsBool() && !flag.IsCounter() {
		l.flag = flag
	}
}

// passesOn reports whether the words of another command follow.
func (l commandLine) passesOn() bool {
	at := l.node.Positional
	return l.positional < len(at) && at[l.positional].Passthrough
}

func below(node *kong.Node, word string) *kong.Node {
	i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == word })
	if i < 0 {
		return nil
	}
	return node.Children[i]
}

// known returns the flags that the command takes.
func (l commandLine) known() (flags []*kong.Flag) {
	for _, group := range l.node.AllFlags(true) {
		flags = append(flags, group...)
	}
	return flags
}

// find returns the flag for a word such as --watch or -w.
func (l commandLine) find(word string) *kong.Flag {
	for _, flag := range l.known() {
		if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
			return flag
		}
	}
	return nil
}

// commands returns the commands and the arguments that begin with a word.
func (l commandLine) commands(word string) (lines []string) {
	for _, child := range l.node.Children {
		if child.Type == kong.CommandNode && !child.Hidden && strings.HasPrefix(child.Name, word) {
			lines = append(lines, child.Name+"\t"+child.Help)
		}
	}
	if at := l.node.Positional; l.positional < len(at) {
		lines = append(lines, valuesOf(at[l.positional], "", word)...)
	}
	return lines
}

// flags returns the flags that begin with a word and can follow.
func (l commandLine) flags(word string) (lines []string) {
	for _, flag := range l.known() {
		name, again := "--"+flag.Name, slices.Contains(l.used, flag) && !flag.IsSlice()
		if strings.HasPrefix(name, word) && !again {
			lines = append(lines, name+"\t"+short(flag.Help))
		}
	}
	return lines
}

// short returns the first sentence of a help text.
func short(help string) string {
	help, _, _ = strings.Cut(help, " [$")
	if first, _, found := strings.Cut(help, ". "); found {
		return first
	}
	return strings.TrimSuffix(help, ".")
}

// valuesOf returns the values of a flag or an argument that begin with a word.
func valuesOf(v *kong.Value, prefix, word string) (lines []string) {
	if v.IsBool() {
		return matching([]string{"true", "false"}, prefix, word)
	}
	if v.Enum != "" {
		return matching(v.EnumSlice(), prefix, word)
	}
	if v.Flag != nil && (v.Flag.PlaceHolder == "FILE" || v.Flag.PlaceHolder == "DIR") {
		return []string{Files}
	}
	return nil
}

func matching(values []string, prefix, word string) (lines []string) {
	for _, value := range values {
		if strings.HasPrefix(value, word) {
			lines = append(lines, prefix+value)
		}
	}
	return lines
}
