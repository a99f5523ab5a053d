package status

import (
	"fmt"
	"strings"
	"time"

	"ftr/internal/config"
)

// Configuration says which configuration is in force.
type Configuration struct {
	File   string    // as named on the command line
	Loaded time.Time // when it was put in force
	// Refused is why the latest attempt to load the file changed nothing; nil: it was put in force.
	Refused *LoadError
	// Restart says, each in a sentence, what of it is not in force before the program is started again.
	Restart []string
}

// LoadError is a configuration that was not put in force. The one before stays.
type LoadError struct {
	File string
	Time time.Time // of the attempt
	// Problems are what is wrong in the file, warnings included; empty where it could not even be read.
	Problems []config.Problem
	// Err is what is wrong beside the file's content: it cannot be read, this host cannot do it. nil:
	// the problems say all.
	Err error
}

// Error says in one line what is wrong; example "/etc/fault_tolerant_router.conf has 2 errors".
func (e *LoadError) Error() string {
	var parts []string
	errors := 0
	for _, p := range e.Problems {
		if p.Severity == config.Error {
			errors++
		}
	}
	if errors > 0 {
		parts = append(parts, fmt.Sprintf("%s has %s", e.File, count(errors, "error")))
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	if len(parts) == 0 {
		return e.File + " cannot be put in force"
	}
	return strings.Join(parts, "; ")
}

// Unwrap returns what is wrong beside the file's content.
func (e *LoadError) Unwrap() error { return e.Err }

// count returns "1 error", "2 errors".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
