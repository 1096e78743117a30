package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"statusworker/consumer"
	"statusworker/schema/topology"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/configuration.md")

const (
	flagsPage  = "../../docs/configuration.md"
	tableBegin = "<!-- flags -->"
	tableEnd   = "<!-- /flags -->"
)

// The flag tables of docs/configuration.md are generated from the command line:
//
//	go test ./cmd/statusworker -run TestReadmeFlags -update
func TestReadmeFlags(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(flagsPage)
	if err != nil {
		t.Fatal(err)
	}
	want, err := withTable(string(text), flagTable(t))
	if err != nil {
		t.Fatal(err)
	}
	if string(text) == want {
		return
	}
	if !*update {
		t.Fatal(
			"the tables of docs/configuration.md differ from the flags; run\n" +
				"\tgo test ./cmd/statusworker -run TestReadmeFlags -update",
		)
	}
	if err := os.WriteFile(flagsPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

var errNoTable = errors.New("no " + tableBegin)

// withTable replaces the text between the marks by a table.
func withTable(text, table string) (string, error) {
	before, rest, ok := strings.Cut(text, tableBegin)
	if !ok {
		return text, errNoTable
	}
	_, after, ok := strings.Cut(rest, tableEnd)
	if !ok {
		return text, errors.New(tableBegin + " without " + tableEnd)
	}
	return before + tableBegin + "\n" + table + "\n" + tableEnd + after, nil
}

func TestTableBetweenMarks(t *testing.T) {
	t.Parallel()
	first, err := withTable("before\n"+tableBegin+"\n"+tableEnd+"\nafter", "table")
	if want := "before\n" + tableBegin + "\ntable\n" + tableEnd + "\nafter"; err != nil || first != want {
		t.Errorf("%q (%v), want %q", first, err, want)
	}
	if again, err := withTable(first, "table"); err != nil || again != first {
		t.Errorf("the second time: %q (%v), want no change", again, err)
	}
	if _, err := withTable("text", "table"); !errors.Is(err, errNoTable) {
		t.Errorf("error %v, want errNoTable", err)
	}
	if _, err := withTable(tableBegin, "table"); err == nil || errors.Is(err, errNoTable) {
		t.Errorf("error %v for a table without an end", err)
	}
}

// flagTable returns the flags of `run` and `provision` in Markdown: common ones, and those of each.
func flagTable(t *testing.T) string {
	of := map[string]map[string]bool{"run": {}, "provision": {}}
	for name := range of {
		for _, f := range flagsOf(t, name) {
			of[name][f.Name] = true
		}
	}
	var b strings.Builder
	for _, part := range []struct {
		title, command string
		with           func(*kong.Flag) bool
	}{
		{"Both `run` and `provision`", "run", func(f *kong.Flag) bool { return of["provision"][f.Name] }},
		{"`run` only", "run", func(f *kong.Flag) bool { return !of["provision"][f.Name] }},
		{"`provision` only", "provision", func(f *kong.Flag) bool { return !of["run"][f.Name] }},
	} {
		fmt.Fprintf(&b, "\n### %s\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n", part.title)
		for _, f := range flagsOf(t, part.command) {
			if f.Name == "help" || !part.with(f) {
				continue
			}
			what, _, _ := strings.Cut(f.Help, " [$")
			fmt.Fprintf(&b, "| `--%s` | %s | %s | %s |\n",
				f.Name, code(f.Tag.Get("var")), code(f.Default), strings.ReplaceAll(what, "|", "\\|"))
		}
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func TestFlagTable(t *testing.T) {
	t.Parallel()
	table := flagTable(t)
	for _, row := range []string{
		"| `--nats-url` | `NATS_URL` |  |",
		"| `--concurrency` | `STATUSWORKER_CONCURRENCY` | `64` |",
		"| `--audio-interval` | `STATUSWORKER_AUDIO_INTERVAL` | `30s` |",
		"| `--log-level` | `STATUSWORKER_LOG_LEVEL` | `info` |",
		"| `--replicas` | `STATUSWORKER_REPLICAS` |  |",
		"| `--dry-run` |  |  |",
	} {
		if strings.Count(table, row) != 1 {
			t.Errorf("the table does not contain exactly once: %s\n%s", row, table)
		}
	}
}

// The versions of nats-server in the documents agree with the table of server faults.
func TestDocsFollowTheServerVersions(t *testing.T) {
	t.Parallel()
	known := map[string]bool{topology.MinServer212: true, topology.MinServer214: true}
	doctor, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range topology.KnownServerFaults() {
		known[strings.TrimSuffix(f.From, "-0")], known[f.Fixed] = true, true
		use, do, mode := "with care", f.Do, "both"
		if f.Unsound {
			use = "no"
		}
		if !f.Concerns(consumer.Topology(consumer.Config{}, consumer.Choices{Mode: consumer.Nak}).Streams) {
			mode = "`schedule`"
		}
		if do == "" {
			do = "-"
		}
		if row := fmt.Sprintf("| %s | %s | %s | %s | %s |\n", f.Versions(), f.What, mode, use, do); strings.Count(
			string(doctor),
			row,
		) != 1 {
			t.Errorf("docs/doctor.md does not contain exactly once: %s", row)
		}
	}
	var files []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../deploy/*.yaml",
		"../../deploy/helm/statusworker/*.yaml", "../../deploy/nats/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	least := map[string]bool{"README.md": true, "doctor.md": true, "values.yaml": true}
	version := regexp.MustCompile(`\b2\.1[234]\.\d+\b`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if least[filepath.Base(file)] && !strings.Contains(string(text), topology.MinServers) {
			t.Errorf("%s does not name the minimum versions: %s", file, topology.MinServers)
		}
		for _, v := range version.FindAllString(string(text), -1) {
			if !known[v] {
				t.Errorf("%s names %s, which is not in the table of faults", file, v)
			}
		}
	}
}
