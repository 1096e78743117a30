package faults

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// diskSize is the size of a server's disk. It lies in memory.
const diskSize = 2 << 30

// mounted mounts a file system of limited size on a folder, which is unmounted when the test ends. It returns an empty
// string, and logs why, if that is not possible: then no disk becomes full.
func mounted(t *testing.T, folder string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("SKIPPED: full disks, because only root can mount file systems of limited size")
		return ""
	}
	err := syscall.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%d", diskSize))
	if err != nil {
		t.Logf("SKIPPED: full disks, because no file system can be mounted: %v", err)
		return ""
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", folder, err)
		}
	})
	return folder
}

// resize changes the size of a mounted disk; 0 leaves no space.
func resize(folder string, size uint64) (err error) {
	for range 20 {
		wanted := size
		if size == 0 {
			var s syscall.Statfs_t
			if err := syscall.Statfs(folder, &s); err != nil {
				return err
			}
			wanted = (s.Blocks - s.Bfree) * uint64(s.Bsize)
		}
		err = syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", wanted))
		if !errors.Is(err, syscall.EINVAL) { // more was stored meanwhile
			break
		}
	}
	return err
}
