package config

import (
	"strings"
	"testing"
)

// TestBrokenFilesKeepSecrets breaks a file at every place, in every way a slip of the finger does, and
// looks for the password in what is then said about it. The places of the password's own line are
// left out: who breaks the word "password" itself has told nobody that it is one.
func TestBrokenFilesKeepSecrets(t *testing.T) {
	const head = `uplinks:
  - {interface: eth1, type: dhcp, priority_group: 1}
email:
  send: no
  smtp_parameters:
    user_name: me
`
	const tail = `    port: 25
log:
  file: /x
downlinks: {lan: eth0}
`
	for name, password := range map[string]string{
		"plain":         "    password: hunter2\n",
		"single quotes": "    password: 'hunter2'\n",
		"double quotes": "    password: \"hunter2\"\n",
		"symbol":        "    :password: hunter2\n",
		"two lines":     "    password: hunter2\n      hunter2\n",
		"quoted lines":  "    password: \"hunter2\n\n      hunter2\"\n",
		"block":         "    password: |\n      hunter2\n      hunter2\n",
		"folded":        "    password: >-\n\n      hunter2\n",
		"on next line":  "    password:\n      hunter2\n",
		"list":          "    password:\n    - hunter2\n    - hunter2\n",
		"tagged":        "    password: !!str hunter2\n",
		"complex key":   "    ? password\n    : hunter2\n",
	} {
		whole := head + password + tail
		for i := range len(whole) {
			if i >= len(head) && i < len(head)+len(password) {
				continue
			}
			for _, slip := range []string{"\"", "{", "- ", "\n"} {
				keepsSecret(t, name, whole[:i]+slip+whole[i:])
			}
			keepsSecret(t, name, whole[:i]+whole[i+1:])
		}
	}
}

func keepsSecret(t *testing.T, name, file string) {
	t.Helper()
	_, problems := Parse(name, []byte(file))
	for _, p := range problems {
		if strings.Contains(p.Render(), "hunter") {
			t.Fatalf("%s: %s\n%s", name, p.Render(), file)
		}
	}
}
