package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ftr/internal/config"
)

// SendTest sends a test mail now, past any queue. The error names the step that failed, and the cure
// where one is known; recipients that were refused while others were not are errors too.
func SendTest(ctx context.Context, cfg config.Email) error {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	now := time.Now()
	missed, err := smtpTransport{}.Send(ctx, &cfg, Mail{
		ID: newID(), Time: now, Subject: "Fault Tolerant Router test", Partial: true,
		Body: fmt.Sprintf("This is the test mail that was asked for on %s at %s.\n"+
			"Changes of the uplinks will be mailed in the same way.\n", host, now.Format(time.RFC1123Z)),
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range missed {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}
