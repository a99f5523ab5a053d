package health

// InFlight returns how many probes are remembered.
func (m *Monitor) InFlight() int { return len(m.flight) }
