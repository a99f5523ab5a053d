package routing

// kernelsOwn tells whether a table is the kernel's own: unspecified, default, main or local
// (rtnetlink(7), rtm_table).
func kernelsOwn(table uint32) bool { return table == 0 || table >= 253 && table <= 255 }

// TablesToRead returns the tables to be observed where these rules exist: those of the scope, those
// that our rules lead to, and those that rules at the scope's priorities lead to, each once, and never
// the kernel's own.
func (s Scope) TablesToRead(rules []Rule) []uint32 {
	var all []uint32
	seen := map[uint32]bool{}
	add := func(table uint32) {
		if !seen[table] && !kernelsOwn(table) {
			seen[table] = true
			all = append(all, table)
		}
	}
	for _, t := range s.Tables {
		add(t)
	}
	for _, r := range rules {
		inside := s.LastPriority != 0 && r.Priority >= s.FirstPriority && r.Priority <= s.LastPriority
		if r.Protocol == RuleProtocol || inside {
			add(r.Table)
		}
	}
	return all
}
