package config

import "fmt"

// checkFirewall: what only a managed firewall can do, and its bits of marks.
func (w *walker) checkFirewall(d *draft) {
	if !d.firewall.usable() {
		return
	}
	if !d.isManaged() {
		w.checkManual(d)
		return
	}
	n := int64(len(d.uplinks.value))
	if n == 0 || !d.base.usable() || !d.msk.usable() || !d.steerMask.usable() {
		return
	}
	mask, own := d.steering(n), d.mask(n)
	if both := mask & own; both != 0 {
		fail(w, &d.steerMask, fmt.Sprintf("%#x", mask), fmt.Sprintf("overlaps with fwmark_mask %#x in %#x", own, both),
			fmt.Sprintf("bits that fwmark_mask leaves free, such as %#x", int64(defaultSteerMask)&^own))
		return
	}
	need, room := d.steerCount(), maxSteers(mask)
	switch {
	case need <= room:
	case d.steerMask.given():
		fail(w, &d.steerMask, fmt.Sprintf("%#x", mask), fmt.Sprintf("has room for %d of the %d steering marks that are needed", room, need),
			"a mask with more bits that nobody else uses")
	default:
		w.report(d.firewall.at, Problem{Path: "firewall",
			Message: fmt.Sprintf("managed needs bits of marks to steer, and fwmark_mask %#x leaves room for %d of the %d steering marks that are needed; make it narrower, or give steer_mask other bits", own, room, need)})
	}
}

// checkManual: what a manual firewall cannot do.
func (w *walker) checkManual(d *draft) {
	if d.balance.given() && d.balance.value == BalanceRoundRobin {
		fail(w, &d.balance, BalanceRoundRobin.String(), "needs a firewall that deals the connections; add firewall: managed", "hash, with a manual firewall")
	}
	if d.steerMask.given() {
		warn(w, &d.steerMask, fmt.Sprintf("%#x", d.steerMask.value), "is ignored: only a managed firewall steers (firewall: managed)")
	}
	for i := range d.uplinks.value {
		if clamp := &d.uplinks.value[i].clampMSS; clamp.given() && clamp.value {
			warn(w, clamp, "yes", "is ignored: only a managed firewall does it (firewall: managed)")
		}
	}
}

// steerCount is the number of steers that the configuration will have.
func (d *draft) steerCount() int {
	count, form := len(policySteers(d.policiesConfig())), d.isForm2015()
	if d.balanceIn() != BalanceRoundRobin {
		return count
	}
	for i := range d.uplinks.value {
		if _, grouped := d.uplinks.value[i].groupIn(form); grouped {
			count++
		}
	}
	return count
}
