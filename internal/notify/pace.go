package notify

import "time"

// How often mails go out. The first change is mailed at once; what follows shortly is gathered; and a
// line that flaps all day fills about two mails an hour.
const (
	gather = 30 * time.Second // between any two mails
	burst  = 5                // mails before refill counts
	refill = 30 * time.Minute // one more mail is allowed each
)

// pace is the generic cell rate algorithm (ITU-T I.371): a token bucket in one time.
type pace struct {
	last time.Time // the last mail
	full time.Time // when the bucket will be full again
}

// ready returns the earliest time for the next mail.
func (p pace) ready() time.Time {
	next := p.full.Add(-(burst - 1) * refill)
	if spaced := p.last.Add(gather); spaced.After(next) {
		return spaced
	}
	return next
}

// sent returns the pace after a mail.
func (p pace) sent(now time.Time) pace {
	if p.full.Before(now) {
		p.full = now
	}
	return pace{last: now, full: p.full.Add(refill)}
}

// How long to wait before trying again.
const (
	firstRetry = 5 * time.Second
	lastRetry  = 15 * time.Minute
)

// backoff returns the wait after a number of failures in a row, from 1. random is from [0, 1): up to
// a quarter is taken off, so that many routers behind one mail server do not come back together.
func backoff(failures int, random float64) time.Duration {
	wait := lastRetry
	if failures < 16 { // more would overflow
		wait = min(lastRetry, firstRetry<<(failures-1))
	}
	return wait - time.Duration(random*float64(wait)/4)
}
