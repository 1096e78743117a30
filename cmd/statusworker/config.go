package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/terminal"
	"statusworker/schema"
)

type configCommand struct {
	Output string   `name:"output" short:"o" default:"table" enum:"table, json, yaml" help:"Output format: one of ${enum}. yaml can be used as a configuration file. The flag precedes the command."`
	Words  []string `arg:"" optional:"" passthrough:"" name:"command" help:"Command whose settings are shown, with its flags. By default: run."`
}

// Run shows the settings in force for a command.
func (c configCommand) Run(p cli.Process, top *commands) error {
	words := c.Words
	if len(words) == 0 {
		words = []string{"run"}
	}
	if top.Config != "" {
		words = append([]string{"--config=" + top.Config}, words...)
	}
	command, settings, err := program().InForce(p, words)
	if err != nil {
		return err
	}
	switch c.Output {
	case "json":
		to := json.NewEncoder(p.Stdout)
		to.SetEscapeHTML(false)
		to.SetIndent("", "  ")
		return to.Encode(struct {
			Command  string        `json:"command"`
			Settings []cli.Setting `json:"settings"`
		}{command, settings})
	case "yaml":
		return configYAML(p.Stdout, command, settings)
	}
	rows := [][]terminal.Cell{{{Text: "SETTING"}, {Text: "VALUE"}, {Text: "FROM"}}}
	for _, s := range settings {
		rows = append(rows, []terminal.Cell{{Text: s.Flag}, {Text: shownValue(s)}, {Text: from(s)}})
	}
	for _, line := range terminal.Grid(rows, nil, 0) {
		say(p.Stdout, "%s", strings.TrimRight(line, " "))
	}
	return nil
}

// shownValue returns the value of a setting in one line.
func shownValue(s cli.Setting) string {
	switch value := s.Value.(type) {
	case nil:
		return "-"
	case []any:
		var list []string
		for _, one := range value {
			if text := fmt.Sprint(one); strings.ContainsAny(text, ", ") {
				one = schema.Quote(text)
			}
			list = append(list, fmt.Sprint(one))
		}
		return schema.Printable(strings.Join(list, ", "))
	case string:
		if value == "" {
			return "-"
		}
	}
	return schema.Printable(fmt.Sprint(s.Value))
}

// from returns where the value of a setting comes from.
func from(s cli.Setting) string {
	switch s.Source {
	case cli.FromFlag:
		return "flag --" + s.Flag
	case cli.FromVariable:
		return "variable " + s.Variable
	case cli.FromFile:
		return fmt.Sprintf("file %s, line %d", schema.Printable(s.File), s.Line)
	}
	return string(s.Source)
}

// configYAML writes the settings as a configuration file. A setting with a secret, or without a value, is a comment.
// Settings without a variable are in the section of the command, and so are lists: another command may take one value
// only.
func configYAML(w io.Writer, command string, settings []cli.Setting) error {
	var top, section strings.Builder
	names := strings.Fields(command)
	indent := strings.Repeat("  ", len(names))
	for _, s := range settings {
		if s.PerCall {
			continue
		}
		text, err := yaml.Marshal(map[string]any{s.Flag: s.Value})
		if err != nil {
			return fmt.Errorf("writing %s as YAML: %w", s.Flag, err)
		}
		to, line := &section, indent
		if _, list := s.Value.([]any); s.Variable != "" && !list {
			to, line = &top, ""
		}
		if s.Secret || shownValue(s) == "-" {
			line += "# "
		}
		for part := range strings.Lines(string(text)) {
			part = strings.TrimRight(part, "\n")
			if strings.HasPrefix(part, s.Flag+":") {
				part += " # " + from(s)
			}
			to.WriteString(line + part + "\n")
		}
	}
	heading := ""
	if section.Len() > 0 {
		for i, name := range names {
			heading += strings.Repeat("  ", i) + name + ":\n"
		}
	}
	_, err := io.WriteString(w, top.String()+heading+section.String())
	return err
}
