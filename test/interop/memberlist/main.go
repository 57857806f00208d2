// A bare memberlist node as a peer for tests. Events go out as lines, commands come in as lines.
package main

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

type events struct{ out *sync.Mutex }

func (e *events) say(format string, args ...any) {
	e.out.Lock()
	defer e.out.Unlock()
	fmt.Printf(format+"\n", args...)
}

func (e *events) NotifyJoin(n *memberlist.Node)  { e.say("join %s %s", n.Name, n.Address()) }
func (e *events) NotifyLeave(n *memberlist.Node) { e.say("leave %s", n.Name) }
func (e *events) NotifyUpdate(n *memberlist.Node) {
	e.say("update %s %s", n.Name, hex.EncodeToString(n.Meta))
}

// Tells of user messages and merged states, and has a meta of its own.
type delegate struct {
	events *events
	meta   []byte
}

func (d *delegate) NodeMeta(int) []byte               { return d.meta }
func (d *delegate) NotifyMsg(b []byte)                { d.events.say("user %s", hex.EncodeToString(b)) }
func (d *delegate) GetBroadcasts(int, int) [][]byte   { return nil }
func (d *delegate) LocalState(bool) []byte            { return []byte("foreign state") }
func (d *delegate) MergeRemoteState(b []byte, _ bool) { d.events.say("state %d", len(b)) }

func main() {
	name := flag.String("name", "", "")
	host := flag.String("host", "127.0.0.1", "")
	port := flag.Int("port", 0, "")
	key := flag.String("key", "", "hex")
	label := flag.String("label", "", "")
	protocol := flag.Int("protocol", 5, "")
	compress := flag.Bool("compress", true, "")
	join := flag.String("join", "", "host:port")
	probe := flag.Duration("probe", time.Second, "")
	flag.Parse()

	out := &events{out: &sync.Mutex{}}
	config := memberlist.DefaultLocalConfig()
	config.Name = *name
	config.BindAddr = *host
	config.BindPort = *port
	config.AdvertisePort = *port
	config.ProtocolVersion = uint8(*protocol)
	config.EnableCompression = *compress
	config.ProbeInterval = *probe
	config.ProbeTimeout = *probe / 2
	config.GossipInterval = 50 * time.Millisecond
	config.PushPullInterval = time.Second
	config.Label = *label
	config.Events = out
	config.Delegate = &delegate{events: out, meta: []byte("bare")}
	config.LogOutput = io.Writer(os.Stderr)
	if *key != "" {
		secret, err := hex.DecodeString(*key)
		if err != nil {
			panic(err)
		}
		config.SecretKey = secret
	}
	list, err := memberlist.Create(config)
	if err != nil {
		panic(err)
	}
	out.say("ready")
	joinAll := func(address string) {
		reached, err := list.Join([]string{address})
		if err != nil {
			out.say("joined %d %v", reached, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			out.say("joined %d", reached)
		}
	}
	if *join != "" {
		joinAll(*join)
	}
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := strings.Fields(commands.Text())
		switch words[0] {
		case "join":
			joinAll(words[1])
		case "leave":
			out.say("left %v", list.Leave(5*time.Second))
			list.Shutdown()
			return
		case "members":
			names := []string{}
			for _, n := range list.Members() {
				names = append(names, n.Name+"="+hex.EncodeToString(n.Meta))
			}
			sort.Strings(names)
			out.say("members %s", strings.Join(names, " "))
		}
	}
	list.Shutdown()
}
