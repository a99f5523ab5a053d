package config

import "net/netip"

// Method is how a target is asked.
type Method uint8

// The methods. All answer the same question: does something beyond the provider answer through this
// uplink?
const (
	ICMP    Method = iota // echo request (RFC 792, RFC 4443)
	TCP                   // connection to a port; a refusal (RST) is an answer too
	DNS                   // query over UDP for an A or AAAA record; any answer of the server counts
	HTTP                  // GET of a path, with an expected status
	HTTPS                 // the same over TLS; the certificate is verified
	Gateway               // the uplink's next hop, by neighbour probe (ARP, RFC 4861)
)

// String returns the scheme used in the configuration file.
func (m Method) String() string {
	return [...]string{"icmp", "tcp", "dns", "http", "https", "gateway"}[m]
}

// Target is one host and how it is asked. It is comparable with ==.
type Target struct {
	Method  Method
	Address netip.Addr // invalid for Gateway: the path's next hop
	Port    uint16     // TCP, DNS (default 53), HTTP (80), HTTPS (443)
	Name    string     // DNS: the name asked for; HTTP and HTTPS: the host name, empty: the address
	Path    string     // HTTP and HTTPS: with the query, begins with "/"
	Status  int        // HTTP and HTTPS: the expected status; 0: any from 200 to 399
}

// Echo returns the target that is asked by ICMP echo.
func Echo(a netip.Addr) Target { return Target{Method: ICMP, Address: a} }

// String returns the target for people: the plain address for ICMP, else as in the file.
func (t Target) String() string {
	switch t.Method {
	case ICMP:
		return t.Address.String()
	case Gateway:
		return "gateway"
	case DNS:
		return "dns://" + t.authority(53) + "/" + t.Name
	case HTTP, HTTPS:
		return t.Method.String() + "://" + t.authority(map[Method]uint16{HTTP: 80, HTTPS: 443}[t.Method]) + t.Path
	default:
		return t.Method.String() + "://" + t.authority(0)
	}
}

// authority returns address and port as in a URL (RFC 3986 §3.2), without a port that is the default.
func (t Target) authority(usual uint16) string {
	if t.Port == usual || t.Port == 0 {
		if t.Address.Is6() {
			return "[" + t.Address.String() + "]"
		}
		return t.Address.String()
	}
	return netip.AddrPortFrom(t.Address, t.Port).String()
}
