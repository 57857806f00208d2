// Every key below `cluster:` with its form, default and bounds. cluster.md §2.1. What one key asks of another is in rules.ts; what each
// one means is told by docs/reference/cluster-settings.md, which a test holds to this table.

import { NODE_NAME, NODE_NAME_FORM } from '../../runtime/base/node-name.ts'
import { GOSSIP_KEYS_MAX } from '../swim/wire/keyring.ts'
import { type JoinAddress, parseIp, parseIpOrName, parseJoinAddress, parseRange } from './addresses.ts'
import {
  choice,
  duration,
  flag,
  list,
  type Open,
  odd,
  openDuration,
  openWhole,
  type Section,
  show,
  size,
  text,
  whole,
} from './forms.ts'
import { parseGossipKey } from './gossip-keys.ts'

const JOIN_ADDRESSES_MAX = 256
const RANGES_MAX = 256
/** The mesh's goes into a tag; gossip's is resolved before anything of it is sent. */
const MESH_NAME_BYTES_MAX = 100
const GOSSIP_NAME_BYTES_MAX = 253

const clusterId = text(
  {
    type: 'text',
    defaultText: '`default`',
    bounds: '1 to 32 of `A-Z a-z 0-9 . _ -`',
    parse: (given) =>
      /^[A-Za-z0-9._-]{1,32}$/.test(given)
        ? { value: given }
        : { why: `expected 1 to 32 letters, digits, ".", "_" or "-", found ${show(given)}` },
  },
  'default',
)

const nodeName: Open<string> = text<string | undefined>(
  {
    type: 'text',
    defaultText: '`node.name`, else the host name',
    bounds: '1 to 128 of `A-Z a-z 0-9 . -`, a letter or digit first and last',
    parse: (given) =>
      NODE_NAME.test(given) ? { value: given } : { why: `expected ${NODE_NAME_FORM}, found ${show(given)}` },
  },
  undefined,
)

const failureDomain = text(
  {
    type: 'text',
    defaultText: '`""`',
    bounds: 'at most 64 bytes, no control characters',
    parse: (given) => {
      const bytes = Buffer.byteLength(given)
      if (bytes > 64) return { why: `expected at most 64 bytes, found ${bytes}` }
      return /\p{Cc}/u.test(given) ? { why: `${show(given)} holds control characters` } : { value: given }
    },
  },
  '',
)

const label = text(
  {
    type: 'text',
    defaultText: '`""`',
    bounds: 'at most 255 bytes',
    parse: (given) => {
      const bytes = Buffer.byteLength(given)
      return bytes > 255 ? { why: `expected at most 255 bytes, found ${bytes}` } : { value: given }
    },
  },
  '',
)

const bindAddress = (defaultText: string): Open<string> =>
  text<string | undefined>({ type: 'IP', defaultText, bounds: 'IPv4 or IPv6 literal', parse: parseIp }, undefined)

const advertiseAddress = (defaultText: string, bytesMax: number): Open<string> =>
  text<string | undefined>(
    {
      type: 'IP or DNS name',
      defaultText,
      bounds: `at most ${bytesMax} bytes`,
      parse: (given) => {
        if (given === '') return { value: undefined }
        const bytes = Buffer.byteLength(given)
        if (bytes > bytesMax) return { why: `expected at most ${bytesMax} bytes, found ${bytes}` }
        const host = parseIpOrName(given)
        if (host === undefined) return { why: `expected an IP address or a DNS name, found ${show(given)}` }
        if (host !== '0.0.0.0' && host !== '::') return { value: host }
        return { why: `${host} is no address that others can connect to` }
      },
    },
    undefined,
  )

const path = (defaultText: string, bounds = ''): Open<string> =>
  text<string | undefined>(
    { type: 'path', defaultText, bounds, parse: (given) => ({ value: given === '' ? undefined : given }) },
    undefined,
  )

const secretKey: Open<Uint8Array> = text<Uint8Array | undefined>(
  {
    type: 'base64',
    defaultText: '`""`',
    bounds: '16, 24 or 32 bytes',
    isSecret: true,
    parse: (given) => (given === '' ? { value: undefined } : parseGossipKey(given)),
  },
  undefined,
)

const membership = {
  bind_addr: bindAddress('`0.0.0.0` with a gossip key, else `127.0.0.1`'),
  bind_port: whole(7946, { min: 0, max: 65_535 }),
  advertise_addr: advertiseAddress('`bind_addr`; of all addresses the first private one', GOSSIP_NAME_BYTES_MAX),
  advertise_port: whole(0, { min: 0, max: 65_535 }),
  join_addrs: list<JoinAddress>({
    type: 'text or list',
    defaultText: '`""`',
    bounds: '`host[:port]` or `name/host[:port]`, IPv6 in brackets',
    parse: parseJoinAddress,
    countMax: JOIN_ADDRESSES_MAX,
  }),
  secret_key: secretKey,
  secret_file: path('`""`', 'not together with `secret_key`'),
  decrypt_keys: list<Uint8Array>({
    type: 'list of base64',
    defaultText: '`[]`',
    bounds: '16, 24 or 32 bytes each; needs a gossip key',
    isSecret: true,
    parse: parseGossipKey,
    countMax: GOSSIP_KEYS_MAX - 1,
  }),
  gossip_verify_incoming: flag(true),
  gossip_verify_outgoing: flag(true),
  label,
  interop: choice(['serf', 'memberlist'], 'serf'),
  gossip_interval: duration('500ms', { min: '10ms', max: '1m' }),
  gossip_nodes: whole(3, { min: 1, max: 16 }),
  push_pull_interval: duration('5s', { min: '1s', max: '10m', zero: 'off' }),
  probe_interval: duration('1s', { min: '100ms', max: '1m', also: 'more than `probe_timeout`' }),
  probe_timeout: duration('200ms', { min: '10ms' }),
  tcp_timeout: duration('1s', { min: '100ms', max: '1m' }),
  suspicion_mult: whole(3, { min: 1, max: 20 }),
  suspicion_max_mult: whole(6, { min: 1, max: 20 }),
  indirect_checks: whole(3, { min: 0, max: 10 }),
  retransmit_mult: whole(4, { min: 1, max: 10 }),
  awareness_max: whole(8, { min: 1, max: 16 }),
  gossip_to_the_dead: duration('30s', { min: '1s' }),
  dead_node_reclaim_time: duration('30s', { min: '1ms', zero: 'never by time' }),
  reconnect_interval: duration('30s', { min: '1s' }),
  reconnect_timeout: duration('24h', { min: '1s' }),
  packet_size: whole(1400, { min: 512, max: 65_507 }),
  compression: flag(true),
  tcp_pings: flag(true),
  allowed_cidrs: list({
    type: 'list of CIDR',
    defaultText: '`[]`: all',
    bounds: '`10.0.0.0/8`, `fd00::/8`',
    parse: parseRange,
    countMax: RANGES_MAX,
  }),
} satisfies Section

const internode = {
  bind_addr: bindAddress('`membership.bind_addr`'),
  bind_port: whole(0, { min: 0, max: 65_535 }),
  auto_port: flag(true),
  advertise_addr: advertiseAddress('`""`', MESH_NAME_BYTES_MAX),
  advertise_port: whole(0, { min: 0, max: 65_535, also: 'needs `advertise_addr`' }),
  handshake_timeout: duration('5s', { min: '500ms', max: '1m' }),
  keepalive_interval: duration('5s', { min: '100ms' }),
  keepalive_timeout: duration('15s', { min: '200ms', also: 'at least 2 × `keepalive_interval`' }),
  max_message_size: size('16MiB', { min: '64KiB', max: '512MiB' }),
  queue_bytes: size('64MiB', { min: '1MiB' }),
  total_queue_bytes: size('512MiB', { min: '1MiB', also: 'at least `queue_bytes`' }),
  topology: choice(['auto', 'full', 'lazy'], 'auto'),
} satisfies Section

const raft = {
  enabled: flag(true),
  role: choice(['server', 'client'], 'server'),
  data_dir: path('`<node.data_dir>/<node name>`', 'a directory, or `memory`'),
  eligible: flag(true),
  priority: whole(100, { min: 0, max: 10_000 }),
  bootstrap_expect: openWhole('1 without `join_addrs`, 0 with; 0 on a client', { min: 0, max: 9 }),
  bootstrap_stability: duration('5s', { min: '1s', max: '1m' }),
  max_voters: odd(5, { min: 1, max: 9 }),
  max_standbys: whole(4, { min: 0, max: 16 }),
  min_voters: odd(3, { min: 1, max: 9, also: 'at most `max_voters`' }),
  reconcile_debounce: duration('2s', { min: '100ms' }),
  reconcile_timeout: duration('2s', { min: '100ms' }),
  evict_grace: duration('30s', { min: '1ms', also: 'at least `session_ttl`' }),
  heartbeat_timeout: duration('3s', { min: '200ms' }),
  election_timeout: duration('3s', { min: '1ms', also: 'less than `heartbeat_timeout` is raised to it' }),
  commit_timeout: duration('500ms', { min: '1ms', also: 'more than a third of `heartbeat_timeout` is lowered to it' }),
  max_append_entries: whole(16, { min: 1, max: 1024 }),
  max_inflight: whole(64, { min: 1, max: 1024 }),
  max_entry_size: size('1MiB', { min: '4KiB', max: '8MiB' }),
  max_uncommitted: size('64MiB', { min: '1B' }),
  snapshot_threshold: whole(8192, { min: 16 }),
  snapshot_interval: duration('2m', { min: '1s' }),
  snapshot_retain: whole(3, { min: 1, max: 20 }),
  trailing_logs: whole(10_240, { min: 0 }),
  read_mode: choice(['index', 'lease'], 'index'),
  leader_probe_interval: duration('3s', { min: '100ms', also: 'at most a third of `session_ttl`' }),
  leader_probe_grace: whole(3, { min: 1, max: 20 }),
  shutdown_transfer_timeout: openDuration('`election_timeout`', { min: '1ms', zero: 'no transfer' }),
} satisfies Section

const tlsFile = path('none', '`ca`, `cert`, `key`: all three or none')

export const KEYS = {
  enabled: flag(false),
  id: clusterId,
  name: nodeName,
  failure_domain: failureDomain,
  allow_insecure: flag(false),
  strict_code: flag(false),
  session_ttl: duration('15s', { min: '3s', max: '5m', also: 'at least 2 × `raft.heartbeat_timeout`' }),
  membership,
  internode,
  raft,
  names: { strong_deadline: duration('10s', { min: '500ms', max: '5m' }) },
  kv: {
    max_value_size: size('512KiB', { min: '1B', also: 'at most half of `raft.max_entry_size`' }),
    crdt_tombstone_retention: duration('24h', { min: '10m', zero: 'keep forever' }),
    crdt_max_skew: duration('10m', { min: '1s' }),
  },
  tls: { ca: tlsFile, cert: tlsFile, key: tlsFile, crl: path('none', 'needs the other three') },
} satisfies Section
