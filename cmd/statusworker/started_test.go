package main

import "testing"

func TestCommandThatStartedTheProgram(t *testing.T) {
	t.Parallel()
	const goRun = "go run ./cmd/statusworker"
	for path, want := range map[string]string{
		"statusworker":                                   "statusworker",
		"./statusworker":                                 "./statusworker",
		"/usr/local/bin/statusworker":                    "/usr/local/bin/statusworker",
		"/home/me/go-build/statusworker":                 "/home/me/go-build/statusworker",
		"/tmp/go-build1234/b001/exe/statusworker":        goRun,
		`C:\Temp\go-build1234\b001\exe\statusworker.exe`: goRun,
		"/.cache/go-build/3c/3c0a1f5e9d7b2c4a6e8f0a1b3c5d7e9f1a2b3c4d5e6f708192a3b4c5d6e7f809-d/statusworker": goRun,
	} {
		if got := startedBy(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
