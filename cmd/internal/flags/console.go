package flags

import (
	"fmt"
	"io"
	"net"
	"path"
	"regexp"

	"golang.org/x/net/http/httpguts"

	"statusworker/cmd/internal/cli"
	"statusworker/cmd/internal/console"
	"statusworker/schema"
	"statusworker/statusclient"
)

// Console has the flags of the web console.
type Console struct {
	Addr         string   `name:"addr" default:"127.0.0.1:8090" help:"Address that serves the console. An address beyond loopback requires --host, and --password-file or --user-header."`
	AllowWrites  bool     `name:"allow-writes" help:"Allow actions: replay and purge dead letters, pause and resume the NATS consumers of lanes, declare interactions. Without it, the console is read-only."`
	Hosts        []string `name:"host" placeholder:"NAME" sep:"," help:"Host name or address, without a port, by which browsers reach the console; for several, repeat the flag, or separate them by commas. Requests for other hosts are refused. Loopback names are always allowed."`
	BasePath     string   `name:"base-path" placeholder:"PATH" help:"Path under which a proxy serves the console, such as /statusworker. The proxy must pass it on unchanged."`
	PasswordFile string   `name:"password-file" placeholder:"FILE" help:"File with the users of the console: lines of the form name:hash with hashes of bcrypt, as htpasswd -B writes them. Read once, when the console starts."`
	UserHeader   string   `name:"user-header" placeholder:"NAME" help:"Header in which a proxy puts the name of the user that it has authenticated, such as X-Forwarded-User. Only the proxy may reach the console."`
}

var basePath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

// Check rejects invalid values, two sources of users, and an address beyond loopback without users or host names.
func (f Console) Check() error {
	address, err := net.ResolveTCPAddr("tcp", f.Addr)
	if f.Addr == "" || err != nil {
		return f.badAddr(err)
	}
	for _, host := range f.Hosts {
		if !statusclient.ValidHost(host) {
			return cli.BadFlag(f, "host", schema.Quote(host), "a host name or an address, without a port")
		}
	}
	if f.BasePath != "" && (!basePath.MatchString(f.BasePath) || path.Clean(f.BasePath) != f.BasePath) {
		return cli.BadFlag(f, "base-path", schema.Quote(f.BasePath),
			"a path that begins with / and does not end with it, such as /statusworker")
	}
	if f.UserHeader != "" && !httpguts.ValidHeaderFieldName(f.UserHeader) {
		return cli.BadFlag(f, "user-header", schema.Quote(f.UserHeader),
			"the name of a header, such as X-Forwarded-User")
	}
	return f.checkUsers(address)
}

// checkUsers rejects two sources of users, and an address that other hosts can reach without users or host names.
func (f Console) checkUsers(address *net.TCPAddr) error {
	switch users := f.PasswordFile != "" || f.UserHeader != ""; {
	case f.PasswordFile != "" && f.UserHeader != "":
		return cli.Usagef("--password-file and --user-header are both set: set only one of them")
	case address.IP.IsLoopback():
		return nil
	case !users:
		return cli.Usagef("--addr is %s, which other hosts can reach: set --password-file to a file of users, or "+
			"--user-header to the header of a proxy that authenticates them; or use a loopback address",
			schema.Quote(f.Addr))
	case len(f.Hosts) == 0:
		return cli.Usagef("--addr is %s, which other hosts can reach: set --host to the name by which browsers reach "+
			"the console", schema.Quote(f.Addr))
	}
	return nil
}

func (f Console) badAddr(why error) error {
	return cli.BadFlag(f, "addr", schema.Quote(f.Addr),
		fmt.Sprintf("an address that can be listened on, such as 127.0.0.1:8090 (%v)", why))
}

// Listen listens on the address.
func (f Console) Listen() (net.Listener, error) {
	l, err := net.Listen("tcp", f.Addr)
	if err != nil {
		return nil, f.badAddr(err)
	}
	return l, nil
}

// maxPasswordFile is the maximum size of the password file in bytes.
const maxPasswordFile = 1 << 20

// Users returns the users of the console; nil if everybody who reaches it may use it.
func (f Console) Users() (console.Users, error) {
	if f.UserHeader != "" {
		return console.FromHeader(f.UserHeader), nil
	}
	if f.PasswordFile == "" {
		return nil, nil
	}
	users, err := readUsers(f.PasswordFile)
	if err != nil {
		return nil, cli.BadFlag(f, "password-file", schema.Quote(f.PasswordFile),
			fmt.Sprintf("a file with lines name:hash (%v)", err))
	}
	return users, nil
}

func readUsers(file string) (console.Users, error) {
	opened, err := statusclient.OpenFile(file)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	text, err := io.ReadAll(io.LimitReader(opened, maxPasswordFile))
	if err != nil {
		return nil, err
	}
	return console.ReadPasswords(string(text))
}
