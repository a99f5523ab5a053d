package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"ftr/internal/routing"
)

// ErrCorrupt is wrapped by the error of OpenSysctlStore for a file that cannot be understood.
var ErrCorrupt = errors.New("the file is damaged")

// storeName is the file in the state directory, and asideName what becomes of a damaged one.
const (
	storeName = "sysctls.json"
	asideName = "sysctls.damaged.json"
)

// SysctlStore remembers, across restarts, the value that each sysctl had before its first change, so
// that cleaning up can put it back. It holds for one boot and one network namespace: in another, the
// values were never changed. It may be used concurrently.
type SysctlStore struct {
	dir string

	mu      sync.Mutex
	content stored
}

// stored is the content of the file.
type stored struct {
	Place
	Values map[string]string `json:"values"`
}

// Place is where and when kernel state exists: what was known of it holds nowhere else.
type Place struct {
	Boot  string `json:"boot_id"` // /proc/sys/kernel/random/boot_id (random(4))
	NetNS uint64 `json:"netns"`   // inode of the namespace (namespaces(7))
}

// OpenSysctlStore reads the store in a state directory, which must exist. A file of another boot or
// namespace counts as none. A damaged file is moved aside; the error then wraps ErrCorrupt and the
// store is usable, and empty.
func OpenSysctlStore(dir string) (*SysctlStore, error) {
	here, err := Here()
	if err != nil {
		return nil, fmt.Errorf("open the store of sysctl values: %w", err)
	}
	s := &SysctlStore{dir: dir, content: stored{Place: here, Values: map[string]string{}}}
	path := filepath.Join(dir, storeName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the store of sysctl values: %w", err)
	}
	var found stored
	if err := json.Unmarshal(data, &found); err != nil || !found.valid() {
		err = fmt.Errorf("open the store of sysctl values: %s: %w; the values from before this program's changes are not known any more", path, ErrCorrupt)
		return s, errors.Join(err, os.Rename(path, filepath.Join(dir, asideName)))
	}
	if found.Place == here {
		s.content = found
	}
	return s, nil
}

// Here says which boot and which network namespace this is.
func Here() (Place, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Place{}, fmt.Errorf("identify the boot: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		return Place{}, fmt.Errorf("identify the network namespace: %w", err)
	}
	return Place{Boot: strings.TrimSpace(string(boot)), NetNS: stat.Ino}, nil
}

// valid tells whether this can be something that was written here: with its key a value is written
// back to /proc/sys as root.
func (c stored) valid() bool {
	for key := range c.Values {
		if _, err := sysctlPath(key); err != nil {
			return false
		}
	}
	return c.Boot != "" && c.Values != nil
}

// Remember saves the values that sysctls had before their first change; those of keys that are known
// already stay. When it returns nil, the values survive a crash; otherwise none of them is saved.
func (s *SysctlStore) Remember(before []routing.Sysctl) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := maps.Clone(s.content.Values)
	for _, c := range before {
		if _, err := sysctlPath(c.Key); err != nil {
			return err
		}
		if _, known := values[c.Key]; !known {
			values[c.Key] = c.Value
		}
	}
	if len(values) == len(s.content.Values) {
		return nil
	}
	old := s.content.Values
	s.content.Values = values
	if err := s.write(); err != nil {
		s.content.Values = old
		return fmt.Errorf("save the values of sysctls from before the change: %w", err)
	}
	return nil
}

// Saved returns what was remembered, in the order of the keys.
func (s *SysctlStore) Saved() []routing.Sysctl {
	s.mu.Lock()
	defer s.mu.Unlock()
	var saved []routing.Sysctl
	for key, value := range s.content.Values {
		saved = append(saved, routing.Sysctl{Key: key, Value: value})
	}
	slices.SortFunc(saved, func(a, b routing.Sysctl) int { return strings.Compare(a.Key, b.Key) })
	return saved
}

// Forget removes the file: everything was put back.
func (s *SysctlStore) Forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(filepath.Join(s.dir, storeName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the saved sysctl values: %w", err)
	}
	clear(s.content.Values)
	return nil
}

// write replaces the file in one step and waits until the disk has it.
func (s *SysctlStore) write() (err error) {
	data, err := json.MarshalIndent(s.content, "", "\t")
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(s.dir, storeName+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	_, err = temporary.Write(append(data, '\n'))
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), filepath.Join(s.dir, storeName)); err != nil {
		return err
	}
	return syncDirectory(s.dir)
}

// syncDirectory makes a rename durable.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
