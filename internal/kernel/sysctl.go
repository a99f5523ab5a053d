package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"ftr/internal/routing"
)

// sysctlRoot is where the kernel shows its parameters (proc(5)).
const sysctlRoot = "/proc/sys/"

// sysctlPath returns the file of a key. Keys have slashes, so that the dots of an interface like
// eth0.100 are only dots. Parameters outside of net/ are none of our business.
func sysctlPath(key string) (string, error) {
	if !fs.ValidPath(key) || !strings.HasPrefix(key, "net/") {
		return "", fmt.Errorf("sysctl %q: not a key below net/ with slashes", key)
	}
	return sysctlRoot + key, nil
}

// sysctls reads those of the keys that exist, from the file system where links do not tell.
func (k *Kernel) sysctls(keys []string, links devconfs) (found []routing.Sysctl, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	found = make([]routing.Sysctl, 0, len(keys))
	err = k.inside(func() error {
		for _, key := range keys {
			if value, ok := links.value(key); ok {
				found = append(found, routing.Sysctl{Key: key, Value: value})
				continue
			}
			path, err := sysctlPath(key)
			if err != nil {
				return err
			}
			value, err := readSysctl(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read sysctl %s: %w", key, err)
			}
			found = append(found, routing.Sysctl{Key: key, Value: value})
		}
		return nil
	})
	return found, err
}

// readSysctl reads one value with the fewest system calls: os.ReadFile needs more than twice as many.
func readSysctl(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var value [64]byte // those below net/ that concern us are numbers
	n, err := unix.Read(fd, value[:])
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(value[:n])), nil
}

// setSysctl writes one value.
func (k *Kernel) setSysctl(s routing.Sysctl) error {
	path, err := sysctlPath(s.Key)
	if err != nil {
		return err
	}
	return k.inside(func() error {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_, err = file.WriteString(s.Value + "\n")
			err = errors.Join(err, file.Close())
		}
		switch {
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("%w (this needs the capability CAP_NET_ADMIN)", err)
		case errors.Is(err, unix.EROFS):
			return fmt.Errorf("%w (/proc/sys must be writable; in a container it has to be mounted so)", err)
		}
		return err
	})
}

// inside runs f on a thread in the namespace of the Kernel: /proc/sys/net shows that of the thread
// which looks.
func (k *Kernel) inside(f func() error) error {
	if k.netns == 0 {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so that it ends with this goroutine instead of coming back to
		// others in the wrong namespace.
		runtime.LockOSThread()
		if err := unix.Setns(k.netns, unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}
