package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processorTime is the CPU time of this process, user and system.
func processorTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// residentSize is the memory of this process that is in RAM, in bytes; 0 where the system does not tell.
func residentSize() uint64 { return statusSize("self", "VmRSS") }

// peakSize is the most memory that a process had in RAM, in bytes; 0 where the system does not tell, or it has ended.
func peakSize(pid int) uint64 { return statusSize(strconv.Itoa(pid), "VmHWM") }

func statusSize(process, name string) uint64 {
	kB, err := strconv.ParseUint(strings.TrimSuffix(procValue("/proc/"+process+"/status", name), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kB << 10
}

// processor names the CPU, where the system does.
func processor() string {
	if name := procValue("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	return "CPU unknown"
}

// procValue is the first value of that name in a file of lines `name: value`.
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
