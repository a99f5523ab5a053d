package logging

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ftr/internal/config"
)

func TestChangeOfFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	logger, file, err := Setup(Options{File: config.Log{File: path("a"), MaxSize: 1 << 20, OldFiles: 1}})
	if err != nil {
		t.Fatal(err)
	}
	use := func(form config.Log) {
		t.Helper()
		change, err := file.Open(form)
		if err != nil {
			t.Fatal(err)
		}
		if err := change.Use(); err != nil {
			t.Error(err)
		}
	}
	logger.Info("first")
	use(config.Log{File: path("b"), MaxSize: 1 << 20, OldFiles: 1})
	logger.Info("second")
	use(config.Log{File: path("b"), MaxSize: 1, OldFiles: 1}) // each record is too long for the file
	logger.Info("third")
	dropped, err := file.Open(config.Log{File: path("c")})
	if err != nil {
		t.Fatal(err)
	}
	if err := dropped.Drop(); err != nil {
		t.Error(err)
	}
	if _, err := file.Open(config.Log{File: path("missing/log")}); err == nil || !strings.Contains(err.Error(), path("missing")) {
		t.Errorf("a file that cannot be opened: %v", err)
	}
	logger.Info("fourth")
	use(config.Log{})
	logger.Info("nowhere")
	use(config.Log{File: path("d")})
	logger.Info("fifth")
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"a": "first", "b.0": "third", "b": "fourth", "c": "", "d": "fifth"} {
		data, err := os.ReadFile(path(name))
		if err != nil || strings.Count(string(data), "\n") != min(len(want), 1) || !strings.Contains(string(data), want) {
			t.Errorf("%s: %v, %q, want %q", name, err, data, want)
		}
	}
}

// No record is lost, and none is written twice, while the file changes.
func TestChangeOfFileWhileWriting(t *testing.T) {
	dir := t.TempDir()
	names := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	logger, file, err := Setup(Options{File: config.Log{File: names[0]}})
	if err != nil {
		t.Fatal(err)
	}
	const records = 500
	var writing sync.WaitGroup
	writing.Go(func() {
		for range records {
			logger.Info("a record")
		}
	})
	for i := range 20 {
		change, err := file.Open(config.Log{File: names[(i+1)%2]})
		if err != nil {
			t.Fatal(err)
		}
		if err := change.Use(); err != nil {
			t.Fatal(err)
		}
	}
	writing.Wait()
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	n := 0
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(data), "a record\n")
	}
	if n != records {
		t.Errorf("%d records in the files, want %d", n, records)
	}
}

// A file that could not be opened at the start is tried again.
func TestFileLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "later", "log")
	form := config.Log{File: path}
	logger, file, err := Setup(Options{File: form})
	if err == nil {
		t.Fatal("no error")
	}
	if _, err := file.Open(form); err == nil {
		t.Error("it was not tried again")
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	change, err := file.Open(form)
	if err != nil {
		t.Fatal(err)
	}
	if err := change.Use(); err != nil {
		t.Error(err)
	}
	logger.Info("at last")
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), "at last") {
		t.Errorf("%v, %q", err, data)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
