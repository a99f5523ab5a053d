package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// integer is a whole number, decimal or, as marks are often written, hexadecimal with 0x.
func integer(into *field[int64], least, most int64) scalar[int64] {
	text := fmt.Sprintf("a whole number from %d to %d", least, most)
	return scalar[int64]{
		into: into,
		what: text,
		parse: func(s string) (int64, fault) {
			n, f := parseInteger(s)
			if f.none() && (n < least || n > most) {
				return 0, fault{message: "is out of range"}
			}
			if f.suggestion == "" {
				return n, f
			}
			if better, _ := parseInteger(f.suggestion); better < least || better > most {
				f.suggestion = ""
			}
			return n, f
		},
		print: func(n int64) string { return strconv.FormatInt(n, 10) },
		json: &schema{
			Type: []string{"integer", "string", "null"}, Minimum: &least, Maximum: &most,
			Pattern: `^[-+]?(0x[0-9a-fA-F]+|0|[1-9](_?[0-9])*)$`,
		},
	}
}

// mark is an integer that is written in hexadecimal.
func mark(into *field[int64], least, most int64) scalar[int64] {
	s := integer(into, least, most)
	s.what = fmt.Sprintf("a number from %#x to %#x", least, most)
	s.print = func(n int64) string { return fmt.Sprintf("%#x", n) }
	return s
}

// parseInteger reads a whole number. Quotes around it do not matter. What YAML 1.1 (the original's)
// and 1.2 read differently is refused with the ways to say it clearly.
func parseInteger(s string) (int64, fault) {
	text := strings.TrimSpace(s)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return n, fault{}
	}
	digits := strings.TrimLeft(text, "+-")
	switch {
	case regexp.MustCompile(`^0[0-9_]+$`).MatchString(digits):
		return 0, fault{"begins with a zero, which means octal to some and decimal to others", trimZeros(digits)}
	case regexp.MustCompile(`^[0-9]{1,3}(,[0-9]{3})+$`).MatchString(digits):
		return 0, fault{"has commas", strings.ReplaceAll(digits, ",", "")}
	}
	if regexp.MustCompile(`^[0-9](_?[0-9])*$`).MatchString(digits) {
		text = strings.ReplaceAll(text, "_", "")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if hex, found := strings.CutPrefix(strings.ToLower(text), "0x"); found {
		n, err = strconv.ParseInt(hex, 16, 64)
	}
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fault{message: "is out of range"}
	case err != nil:
		return 0, fault{"is not a whole number", nearestInteger(text)}
	}
	return n, fault{}
}

func trimZeros(digits string) string {
	if rest := strings.TrimLeft(digits, "0_"); rest != "" {
		return rest
	}
	return "0"
}

// nearestInteger suggests 1 for 1.0, and nothing for other words.
func nearestInteger(text string) string {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return ""
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// duration is a time: a number of seconds as in the original, fractions allowed, or a number with
// units as of time.ParseDuration.
func duration(into *field[time.Duration], least, most time.Duration) scalar[time.Duration] {
	lowest, highest := least.Seconds(), most.Seconds()
	return scalar[time.Duration]{
		into: into,
		what: fmt.Sprintf("a number of seconds or a duration such as 500ms, 2s or 1m, from %s to %s", spell(least), spell(most)),
		parse: func(s string) (time.Duration, fault) {
			d, f := parseDuration(s)
			if f.none() && (d < least || d > most) {
				return 0, fault{message: "is out of range"}
			}
			return d, f
		},
		print: spell,
		json: &schema{
			Type: []string{"number", "string", "null"}, MinimumNumber: &lowest, MaximumNumber: &highest,
			Pattern: `^\s*\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+\s*$|^\s*\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*$`,
		},
	}
}

// parseDuration reads a time. Signs pass, so that "-5" is called out of range and not a riddle.
func parseDuration(s string) (time.Duration, fault) {
	const wrong = "is not a time"
	text := strings.TrimSpace(s)
	if d, err := time.ParseDuration(text); err == nil {
		return d, fault{}
	}
	switch {
	case regexp.MustCompile(`^[0-9]+:[0-5]?[0-9]$`).MatchString(text):
		minutes, seconds, _ := strings.Cut(text, ":")
		return 0, fault{wrong, minutes + "m" + trimZeros(seconds) + "s"}
	case regexp.MustCompile(`^0[0-9]+$`).MatchString(text):
		return 0, fault{"begins with a zero, which means octal to some and decimal to others", trimZeros(text)}
	case regexp.MustCompile(`^[0-9]+ *(ms|s|m|h|sec|min|d|days?)$`).MatchString(text):
		return 0, fault{wrong, respell(text)}
	case regexp.MustCompile(`^[0-9]+,[0-9]+$`).MatchString(text):
		return 0, fault{wrong, strings.Replace(text, ",", ".", 1)}
	case !regexp.MustCompile(`^[-+]?([0-9](_?[0-9])*\.?[0-9]*|\.[0-9]+)$`).MatchString(text):
		return 0, fault{message: wrong}
	}
	seconds, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil || math.Abs(seconds) > math.MaxInt64/2/float64(time.Second) {
		return 0, fault{message: "is out of range"}
	}
	return time.Duration(math.Round(seconds * float64(time.Second))), fault{}
}

// respell corrects the units that people write: "5 s", "5 sec", "5 min", "3d".
func respell(text string) string {
	digits := strings.TrimRight(text, " abcdefghijklmnopqrstuvwxyz")
	switch unit := strings.TrimSpace(text[len(digits):]); unit {
	case "sec":
		return digits + "s"
	case "min":
		return digits + "m"
	case "d", "day", "days":
		days, err := strconv.Atoi(digits)
		if err != nil || days > 10000 {
			return ""
		}
		return strconv.Itoa(24*days) + "h"
	default:
		return digits + unit
	}
}

// spell writes a duration as people do: 2s, 1m, 72h instead of 72h0m0s.
func spell(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// boolean is yes or no, in all the words of YAML 1.1, which the original's files use. Quotes do not
// matter: nobody who writes "no" wants yes.
func boolean(into *field[bool]) scalar[bool] {
	return scalar[bool]{
		into: into,
		what: "yes or no",
		parse: func(s string) (bool, fault) {
			switch strings.ToLower(strings.TrimSpace(s)) {
			case "true", "yes", "on":
				return true, fault{}
			case "false", "no", "off":
				return false, fault{}
			}
			return false, fault{"is neither yes nor no", closest(s, []string{"yes", "no", "true", "false", "on", "off"})}
		},
		print: func(b bool) string {
			if b {
				return "yes"
			}
			return "no"
		},
		json: &schema{Type: []string{"boolean", "string", "null"}, Pattern: `^\s*([Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff]|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])\s*$`},
	}
}
