package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Registry knows the labs of a user on this machine, by name. It is a directory outside the labs'
// private namespaces: for each lab a control socket and what is needed to enter it.
type Registry struct{ dir string }

// Info is what others know of a standing lab.
type Info struct {
	Name    string    `json:"name"`
	PID     int       `json:"pid"`            // the lab's first process, as seen from outside
	User    bool      `json:"user_namespace"` // it has a user namespace of its own
	Started time.Time `json:"started"`
	socket  string
}

// OpenRegistry opens the user's own registry, below a directory for runtime files (empty: /tmp). A
// directory that others could write into is refused.
func OpenRegistry(runtime string) (*Registry, error) {
	if runtime == "" {
		runtime = "/tmp"
	}
	dir := filepath.Join(runtime, "ftr-lab-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the directory of labs: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o022 != 0 {
		return nil, fmt.Errorf("%s is not a directory of yours alone: remove it", dir)
	}
	return &Registry{dir}, nil
}

// Claim is a name held by a lab.
type Claim struct {
	Name   string
	Socket *os.File // listening; to be handed to the lab's process
	info   string
	socket string
}

// Claim takes a name for a new lab. An empty name takes the first free one of lab, lab2, lab3...
func (r *Registry) Claim(ctx context.Context, name string) (*Claim, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	candidates := []string{name}
	if name == "" {
		candidates = []string{"lab"}
		for n := 2; n < 1000; n++ {
			candidates = append(candidates, "lab"+strconv.Itoa(n))
		}
	}
	for _, name := range candidates {
		if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") || len(name) > 32 {
			return nil, fmt.Errorf("name %q: want at most 32 characters without a slash", name)
		}
		if _, err := r.Find(ctx, name); err == nil {
			continue
		}
		return r.claim(ctx, name)
	}
	return nil, fmt.Errorf("a lab named %q is standing already: choose another --name, or stop it with `ftr lab stop --name %s`", name, name)
}

// claim opens the control socket of a free name. What an ended lab has left is removed.
func (r *Registry) claim(ctx context.Context, name string) (*Claim, error) {
	c := &Claim{Name: name, info: filepath.Join(r.dir, name+".json"), socket: filepath.Join(r.dir, name+".sock")}
	if err := errors.Join(remove(c.info), remove(c.socket)); err != nil {
		return nil, err
	}
	socket, err := (&net.ListenConfig{}).Listen(ctx, "unix", c.socket)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	listener, ok := socket.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("open control socket: it is a %T", socket), socket.Close())
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	if c.Socket, err = listener.File(); err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return c, nil
}

// lock keeps other claims away until unlock is called.
func (r *Registry) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(r.dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", r.dir, err), f.Close())
	}
	return func() { f.Close() }, nil
}

// Publish lets others find the lab whose first process has this id.
func (c *Claim) Publish(pid int) error {
	data, err := json.Marshal(Info{Name: c.Name, PID: pid, User: os.Geteuid() != 0, Started: time.Now()})
	if err != nil {
		return err
	}
	return os.WriteFile(c.info, append(data, '\n'), 0o600)
}

// Release gives the name back.
func (c *Claim) Release() error {
	return errors.Join(c.Socket.Close(), remove(c.info), remove(c.socket))
}

// List returns the labs that are standing, by name.
func (r *Registry) List(ctx context.Context) ([]Info, error) {
	files, err := filepath.Glob(filepath.Join(r.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, file := range files {
		// One that is just ending is none.
		if info, err := r.Find(ctx, strings.TrimSuffix(filepath.Base(file), ".json")); err == nil {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Find returns the standing lab of that name.
func (r *Registry) Find(ctx context.Context, name string) (Info, error) {
	info := Info{Name: name, socket: filepath.Join(r.dir, name+".sock")}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", info.socket)
	if err != nil {
		return info, fmt.Errorf("no lab named %q is standing", name)
	}
	conn.Close()
	data, err := os.ReadFile(filepath.Join(r.dir, name+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return info, nil // it is just starting
	}
	if err == nil {
		err = json.Unmarshal(data, &info)
	}
	return info, err
}

// Choose returns the lab of that name; for an empty name the only one.
func (r *Registry) Choose(ctx context.Context, name string) (Info, error) {
	if name != "" {
		return r.Find(ctx, name)
	}
	list, err := r.List(ctx)
	switch {
	case err != nil:
		return Info{}, err
	case len(list) == 0:
		return Info{}, errors.New("no lab is standing: start one with `ftr lab --keep`")
	case len(list) > 1:
		names := make([]string, len(list))
		for i, info := range list {
			names[i] = info.Name
		}
		return Info{}, fmt.Errorf("several labs are standing: choose with --name one of %s", strings.Join(names, ", "))
	}
	return list[0], nil
}

// remove removes a file that need not exist.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
