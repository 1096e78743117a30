package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processorTime returns the CPU time of this process, user and system.
func processorTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// residentSize returns the resident set size of this process in bytes, or 0 if it is unknown.
func residentSize() uint64 { return statusSize("self", "VmRSS") }

// peakSize returns the peak resident set size of a process in bytes, or 0 if it is unknown or the process has exited.
func peakSize(pid int) uint64 { return statusSize(strconv.Itoa(pid), "VmHWM") }

func statusSize(process, name string) uint64 {
	kB, err := strconv.ParseUint(strings.TrimSuffix(procValue("/proc/"+process+"/status", name), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kB << 10
}

// processor returns the name of the CPU.
func processor() string {
	if name := procValue("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	return "unknown CPU"
}

// procValue returns the first value of a name in a file with lines of the form `name: value`.
func procValue(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
