// cluster.md §2: every key with its default and its bounds, the rules between keys, and what is open only when somebody says so.

import { describe, expect, test } from 'vitest'
import { settingsIn } from '../../cluster/config/forms.ts'
import { KEYS } from '../../cluster/config/keys.ts'
import { clusterSettings, gossipEnvelopeOf, swimSettingsOf, TEXT_KEYS } from '../../cluster/config.ts'
import { defaultSwimSettings, VERSIONS } from '../../cluster/swim/core/settings.ts'
import { fc } from '../tools/property.ts'
import { at, both, KEY_16, KEY_24, KEY_32, machine, problemsOf, settingsOf, warningsOf } from './config/context.ts'

const keyed = { membership: { secret_key: KEY_32 } }

test('a section that says nothing has the defaults of the specification', () => {
  for (const raw of [undefined, null, {}]) {
    const { settings, problems, warnings } = clusterSettings(raw, machine())
    expect(problems).toEqual([])
    expect(warnings).toEqual([])
    expect(settings).toEqual({
      enabled: false,
      id: 'default',
      name: 'host-1',
      failureDomain: '',
      allowInsecure: false,
      strictCode: false,
      sessionTtlMs: 15_000,
      security: { gossip: 'plain', mesh: 'plain' },
      membership: {
        bindHost: '127.0.0.1',
        bindPort: 7946,
        advertiseHost: '127.0.0.1',
        advertisePort: undefined,
        seeds: [],
        keys: [],
        decryptKeys: [],
        keyFile: undefined,
        verifyIncoming: true,
        verifyOutgoing: true,
        label: new Uint8Array(0),
        interop: 'serf',
        gossipIntervalMs: 500,
        gossipNodes: 3,
        pushPullIntervalMs: 5000,
        probeIntervalMs: 1000,
        probeTimeoutMs: 200,
        tcpTimeoutMs: 1000,
        suspicionMult: 3,
        suspicionMaxMult: 6,
        indirectChecks: 3,
        retransmitMult: 4,
        awarenessMax: 8,
        gossipToTheDeadMs: 30_000,
        deadNodeReclaimMs: 30_000,
        reconnectIntervalMs: 30_000,
        reconnectTimeoutMs: 86_400_000,
        packetBytes: 1400,
        compression: true,
        tcpPings: true,
        allowedCidrs: [],
      },
      internode: {
        bindHost: '127.0.0.1',
        bindPort: 0,
        advertise: undefined,
        handshakeTimeoutMs: 5000,
        keepaliveIntervalMs: 5000,
        keepaliveTimeoutMs: 15_000,
        messageBytesMax: 16 * 2 ** 20,
        queueBytesMax: 64 * 2 ** 20,
        totalQueueBytesMax: 512 * 2 ** 20,
        topology: 'auto',
      },
      raft: {
        role: 'server',
        storage: { kind: 'disk', dir: '/data/host-1' },
        isEligible: true,
        priority: 100,
        bootstrapExpect: 1,
        isBootstrapExpectGiven: false,
        bootstrapStabilityMs: 5000,
        votersMax: 5,
        standbysMax: 4,
        votersMin: 3,
        reconcileDebounceMs: 2000,
        reconcileTimeoutMs: 2000,
        evictGraceMs: 30_000,
        heartbeatTimeoutMs: 3000,
        electionTimeoutMs: 3000,
        commitTimeoutMs: 500,
        appendEntriesMax: 16,
        inflightMax: 64,
        entryBytesMax: 2 ** 20,
        uncommittedBytesMax: 64 * 2 ** 20,
        snapshotThreshold: 8192,
        snapshotIntervalMs: 120_000,
        snapshotRetain: 3,
        trailingLogs: 10_240,
        readMode: 'index',
        leaderProbeIntervalMs: 3000,
        leaderProbeGrace: 3,
        shutdownTransferTimeoutMs: 3000,
      },
      names: { strongDeadlineMs: 10_000 },
      kv: { valueBytesMax: 512 * 2 ** 10, crdtTombstoneRetentionMs: 86_400_000, crdtSkewMsMax: 600_000 },
      tls: undefined,
    })
  }
})

describe('numbers, durations, sizes and words keep to their bounds', () => {
  // A key, values within its bounds, values outside.
  const cases: [path: string, right: unknown[], wrong: unknown[]][] = [
    ['session_ttl', ['9s', '30s'], ['2999ms', '301s', '0', '15', 15, 'soon', [], '-15s']],
    ['membership.bind_port', [0, 65_535, '7000'], [-1, 65_536, 1.5, 'x', '', true]],
    ['membership.advertise_port', [0, 1, 65_535], [-1, 65_536]],
    ['membership.gossip_interval', ['10ms', '1m'], ['9ms', '61s', 0]],
    ['membership.gossip_nodes', [1, 16], [0, 17]],
    ['membership.push_pull_interval', ['0', 0, '0s', '1s', '10m'], ['999ms', '601s']],
    ['membership.probe_interval', ['201ms', '1m'], ['99ms', '61s']],
    ['membership.probe_timeout', ['10ms', '999ms'], ['9ms']],
    ['membership.tcp_timeout', ['100ms', '1m'], ['99ms', '61s']],
    ['membership.suspicion_mult', [1, 20], [0, 21]],
    ['membership.suspicion_max_mult', [1, 20], [0, 21]],
    ['membership.indirect_checks', [0, 10], [-1, 11]],
    ['membership.retransmit_mult', [1, 10], [0, 11]],
    ['membership.awareness_max', [1, 16], [0, 17]],
    ['membership.gossip_to_the_dead', ['1s'], ['999ms']],
    ['membership.dead_node_reclaim_time', ['0', '1ms'], ['-1s']],
    ['membership.reconnect_interval', ['1s'], ['999ms']],
    ['membership.reconnect_timeout', ['1s', '576h'], ['999ms', '600h']],
    ['membership.packet_size', [512, 65_507], [511, 65_508, '1KiB']],
    ['membership.interop', ['serf', 'memberlist'], ['', 'consul', 1]],
    ['membership.compression', [true, 'false'], ['yes', 1]],
    ['membership.tcp_pings', [false], ['no']],
    ['membership.gossip_verify_incoming', [false], [0]],
    ['membership.gossip_verify_outgoing', [false], [0]],
    ['internode.bind_port', [0, 65_535], [-1, 65_536]],
    ['internode.auto_port', [true], ['on']],
    ['internode.handshake_timeout', ['500ms', '1m'], ['499ms', '61s']],
    ['internode.keepalive_interval', ['100ms', '7500ms'], ['99ms']],
    ['internode.keepalive_timeout', ['10s'], ['100ms']],
    ['internode.max_message_size', ['64KiB', '512MiB'], ['65535B', '513MiB', 65_536, '1', 'big']],
    ['internode.queue_bytes', ['1MiB', '512MiB'], ['1048575B']],
    ['internode.total_queue_bytes', ['64MiB'], ['1MB']],
    ['internode.topology', ['auto', 'full', 'lazy'], ['ring']],
    ['raft.enabled', [true, false], ['maybe']],
    ['raft.role', ['server', 'client'], ['voter']],
    ['raft.priority', [0, 10_000], [-1, 10_001]],
    ['raft.bootstrap_expect', [0, 1, 3, 9], [-1, 10]],
    ['raft.bootstrap_stability', ['1s', '1m'], ['999ms', '61s']],
    ['raft.max_voters', [3, 9], [0, 11, 4]],
    ['raft.max_standbys', [0, 16], [-1, 17]],
    ['raft.min_voters', [1, 5], [0, 2, 11]],
    ['raft.reconcile_debounce', ['100ms'], ['99ms']],
    ['raft.reconcile_timeout', ['100ms'], ['99ms']],
    ['raft.heartbeat_timeout', ['200ms', '7500ms'], ['199ms']],
    ['raft.max_append_entries', [1, 1024], [0, 1025]],
    ['raft.max_inflight', [1, 1024], [0, 1025]],
    ['raft.max_entry_size', ['1MiB', '8MiB'], ['4095B', '9MiB']],
    ['raft.max_uncommitted', ['1B', '1GiB'], ['0B']],
    ['raft.snapshot_threshold', [16], [15]],
    ['raft.snapshot_interval', ['1s'], ['999ms']],
    ['raft.snapshot_retain', [1, 20], [0, 21]],
    ['raft.trailing_logs', [0], [-1]],
    ['raft.read_mode', ['index', 'lease'], ['stale']],
    ['raft.leader_probe_interval', ['100ms', '5s'], ['99ms']],
    ['raft.leader_probe_grace', [1, 20], [0, 21]],
    ['raft.shutdown_transfer_timeout', ['0', '1m'], ['-1s']],
    ['names.strong_deadline', ['500ms', '5m'], ['499ms', '301s']],
    ['kv.max_value_size', ['1B', '512KiB'], ['0B']],
    ['kv.crdt_tombstone_retention', ['0', '10m'], ['599s']],
    ['kv.crdt_max_skew', ['1s'], ['999ms']],
    ['enabled', [false, 'true'], ['yes']],
    ['allow_insecure', [true], [1]],
    ['strict_code', [true], [1]],
  ]

  test.each(cases)('%s', (path, right, wrong) => {
    for (const value of right) expect(problemsOf(at(path, value)), String(value)).toEqual([])
    for (const value of wrong) {
      const problems = problemsOf(at(path, value))
      expect(
        problems.map((problem) => problem.split(': ')[0]),
        String(value),
      ).toEqual([path])
    }
  })

  test('a duration or a size without a unit is told apart from one out of bounds', () => {
    expect(problemsOf({ session_ttl: 15 })).toEqual([
      'session_ttl: a duration needs a unit: write "15s" or "15ms" instead of 15',
    ])
    expect(problemsOf(at('raft.max_entry_size', 1024))).toEqual([
      'raft.max_entry_size: a size needs a unit: write "1024MiB" or "1024B" instead of 1024',
    ])
    expect(problemsOf(at('membership.push_pull_interval', '11m'))).toEqual([
      'membership.push_pull_interval: expected 0 (off), or 1s to 10m, found "11m"',
    ])
  })

  test('an even number of voters is odd advice', () => {
    expect(problemsOf(at('raft.max_voters', 4))).toEqual(['raft.max_voters: 4 must be odd (did you mean 3 or 5?)'])
    expect(problemsOf(at('raft.min_voters', 2))).toEqual(['raft.min_voters: 2 must be odd (did you mean 1 or 3?)'])
  })

  test('a misspelt word says what there is, and what may be meant', () => {
    const { problems } = clusterSettings(at('membership.interop', 'surf'), machine())
    expect(problems).toEqual([
      {
        path: ['membership', 'interop'],
        message: 'expected one of "serf", "memberlist", found "surf"',
        suggest: { written: 'surf', among: ['serf', 'memberlist'] },
      },
    ])
  })
})

describe('texts', () => {
  test('id: 1 to 32 letters, digits, ".", "_" and "-"', () => {
    for (const id of ['a', 'A.b_c-9', 'x'.repeat(32)]) expect(settingsOf({ id }).id).toBe(id)
    for (const id of ['', 'x'.repeat(33), 'a b', 'ä', 'a/b', 7]) {
      expect(problemsOf({ id })).toEqual([expect.stringMatching(/^id: expected /)])
    }
  })

  test('failure_domain: 64 bytes of UTF-8, no control characters', () => {
    expect(settingsOf({ failure_domain: 'ä'.repeat(32) }).failureDomain).toBe('ä'.repeat(32))
    expect(problemsOf({ failure_domain: 'ä'.repeat(33) })).toEqual([
      'failure_domain: expected at most 64 bytes, found 66',
    ])
    expect(problemsOf({ failure_domain: 'a\nb' })).toEqual(['failure_domain: "a\\nb" holds control characters'])
  })

  test('membership.label: 255 bytes', () => {
    expect(settingsOf(at('membership.label', 'blue')).membership.label).toEqual(new Uint8Array(Buffer.from('blue')))
    expect(problemsOf(at('membership.label', 'x'.repeat(256)))).toEqual([
      'membership.label: expected at most 255 bytes, found 256',
    ])
  })

  test('those that flags and variables must not take for numbers are listed', () => {
    expect([...TEXT_KEYS]).toEqual(
      expect.arrayContaining(['id', 'name', 'failure_domain', 'membership.secret_key', 'membership.label', 'tls.key']),
    )
    expect(TEXT_KEYS.has('membership.bind_port')).toBe(false)
  })
})

describe('the name of the node', () => {
  test('is cluster.name, else node.name, else the host name', () => {
    expect(settingsOf({ name: 'n1' }).name).toBe('n1')
    expect(settingsOf({}, machine({ nodeName: 'n2' })).name).toBe('n2')
    expect(settingsOf({}).name).toBe('host-1')
    expect(settingsOf({ name: 'n1' }, machine({ nodeName: 'n1' })).name).toBe('n1')
  })

  test.each(['', '-a', 'a-', 'a_b', 'a b', 'x'.repeat(129)])('cannot be %j', (name) => {
    expect(problemsOf({ name })).toEqual([expect.stringMatching(/^name: expected 1 to 128 letters/)])
  })

  test('a host name with other characters is mapped, and a cluster that is on warns of it', () => {
    const context = machine({ hostName: 'my_host' })
    expect(settingsOf({}, context).name).toBe('my-host')
    expect(warningsOf({}, context)).toEqual([
      'name: the host name "my_host" cannot name a node; this one is called "my-host"',
    ])
    expect(clusterSettings({}, context).warnings).toEqual([])
    expect(warningsOf({ name: 'n1' }, context)).toEqual([])
  })

  test('is one: node.name cannot be another', () => {
    const context = machine({ nodeName: 'n2' })
    expect(problemsOf({ enabled: true, name: 'n1' }, context)).toEqual([
      'name: "n1" is not node.name, which is "n2"; a node has one name: remove one of them',
    ])
    expect(problemsOf({ name: 'n1' }, context)).toEqual([])
  })
})

describe('all problems come at once, also while the cluster is off', () => {
  test('unknown keys among them, with the keys that are known there', () => {
    const { settings, problems } = clusterSettings(
      { nmae: 'x', raft: { max_voters: 4, votres: 1 }, membership: 5, kv: { max_value_size: '0B' } },
      machine(),
    )
    expect(settings).toBeUndefined()
    expect(problems.map(({ path }) => path.join('.'))).toEqual([
      'nmae',
      'membership',
      'raft.votres',
      'raft.max_voters',
      'kv.max_value_size',
    ])
    expect(problems[0]).toMatchObject({
      message: 'unknown key "nmae"',
      keysKnown: expect.arrayContaining(['name', 'raft']),
    })
    expect(problems[1]?.message).toBe('expected a map, found 5')
    expect(problems[2]?.keysKnown).toContain('max_voters')
  })

  test('keys that every object has are unknown too', () => {
    const raw = JSON.parse('{"__proto__": {"enabled": true}, "constructor": 1, "raft": {"toString": 1}}')
    expect(problemsOf(raw)).toEqual(
      [
        'raft.toString: unknown key "toString"',
        '__proto__: unknown key "__proto__"',
        'constructor: unknown key "constructor"',
      ].sort((a, b) => Number(a.startsWith('raft')) - Number(b.startsWith('raft'))),
    )
  })

  test('an empty value counts as not given', () => {
    const raw = { id: null, raft: null, membership: { secret_key: '', advertise_addr: '', secret_file: '', label: '' } }
    expect(settingsOf(raw)).toEqual(settingsOf({}))
  })
})

describe('rules between keys', () => {
  test.each<[rule: string, raw: Record<string, unknown>, problem: string]>([
    [
      'probe_interval is more than probe_timeout',
      { membership: { probe_interval: '200ms' } },
      'membership.probe_interval: probe_interval must be more than probe_timeout, found 200ms and 200ms',
    ],
    [
      'and the one that was set is to blame',
      { membership: { probe_timeout: '1s' } },
      'membership.probe_timeout: probe_interval must be more than probe_timeout, found 1s and 1s',
    ],
    [
      'session_ttl is at least twice the heartbeat timeout',
      { session_ttl: '15s', raft: { heartbeat_timeout: '8s' } },
      'session_ttl: session_ttl must be at least twice raft.heartbeat_timeout, found 15s and 8s',
    ],
    [
      'leader_probe_interval is at most a third of session_ttl',
      { raft: { leader_probe_interval: '5001ms' } },
      'raft.leader_probe_interval: raft.leader_probe_interval must be at most a third of session_ttl, found 5.001s and 15s',
    ],
    [
      'evict_grace is at least session_ttl',
      { raft: { evict_grace: '14s' } },
      'raft.evict_grace: raft.evict_grace must be at least session_ttl, found 14s and 15s',
    ],
    [
      'keepalive_timeout is at least twice keepalive_interval',
      { internode: { keepalive_timeout: '9s' } },
      'internode.keepalive_timeout: keepalive_timeout must be at least twice keepalive_interval, found 9s and 5s',
    ],
    [
      'total_queue_bytes is at least queue_bytes',
      { internode: { total_queue_bytes: '32MiB' } },
      'internode.total_queue_bytes: total_queue_bytes must be at least queue_bytes, found 32MiB and 64MiB',
    ],
    [
      'a fixed mesh port needs a number',
      { internode: { auto_port: false } },
      'internode.auto_port: without automatic ports internode.bind_port must be set, and not to 0',
    ],
    [
      'internode.advertise_port needs advertise_addr',
      { internode: { advertise_port: 7000 } },
      'internode.advertise_port: it needs internode.advertise_addr',
    ],
    [
      'max_value_size is at most half of max_entry_size',
      { raft: { max_entry_size: '1000KiB' } },
      'raft.max_entry_size: kv.max_value_size must be at most half of raft.max_entry_size, found 512KiB and 1000KiB',
    ],
    [
      'min_voters is at most max_voters',
      { raft: { min_voters: 5, max_voters: 3 } },
      'raft.min_voters: min_voters must be at most max_voters, found 5 and 3',
    ],
    [
      'a client founds nothing',
      { raft: { role: 'client', bootstrap_expect: 1 } },
      'raft.bootstrap_expect: this node cannot take part in founding a cluster: raft.role is client; remove it, or set it to 0',
    ],
    [
      'nor does a node without raft',
      { raft: { enabled: false, bootstrap_expect: 3 } },
      'raft.bootstrap_expect: this node cannot take part in founding a cluster: raft.enabled is false; remove it, or set it to 0',
    ],
    [
      'a node that may not vote founds nothing alone',
      { raft: { eligible: false, bootstrap_expect: 1 } },
      'raft.bootstrap_expect: a node that may not vote cannot found a cluster alone: set membership.join_addrs, or let it vote (raft.eligible: true)',
    ],
    [
      'not by default either',
      { raft: { eligible: false } },
      'raft.eligible: a node that may not vote cannot found a cluster alone: set membership.join_addrs, or let it vote (raft.eligible: true)',
    ],
  ])('%s', (_rule, raw, problem) => {
    expect(problemsOf(raw)).toEqual([problem])
  })

  test('at the bound they hold', () => {
    settingsOf({
      session_ttl: '6s',
      membership: { probe_interval: '201ms' },
      internode: { keepalive_timeout: '10s', total_queue_bytes: '64MiB', auto_port: false, bind_port: 7000 },
      raft: { leader_probe_interval: '2s', evict_grace: '6s', min_voters: 5 },
    })
  })

  test('session_ttl has 3s to 5m when the keys around it fit', () => {
    settingsOf({ session_ttl: '3s', raft: { heartbeat_timeout: '1500ms', leader_probe_interval: '1s' } })
    settingsOf({ session_ttl: '5m', raft: { evict_grace: '5m' } })
  })

  test('a rule is silent when one of its keys is wrong by itself', () => {
    expect(problemsOf({ session_ttl: '1s', raft: { heartbeat_timeout: '1m' } })).toHaveLength(1)
    expect(problemsOf(at('internode.bind_port', 'x'))).toHaveLength(1)
  })

  test('min_voters follows a smaller max_voters by itself', () => {
    expect(settingsOf(at('raft.max_voters', 1)).raft).toMatchObject({ votersMax: 1, votersMin: 1 })
  })

  test('election_timeout is raised to heartbeat_timeout, commit_timeout lowered to a third of it, with warnings', () => {
    const raw = { raft: { heartbeat_timeout: '600ms', election_timeout: '500ms' } }
    expect(settingsOf(raw).raft).toMatchObject({
      electionTimeoutMs: 600,
      commitTimeoutMs: 200,
      shutdownTransferTimeoutMs: 600,
    })
    expect(warningsOf(raw)).toEqual([
      'raft.election_timeout: 500ms is less than raft.heartbeat_timeout, and is raised to 600ms',
      'raft.commit_timeout: 500ms is more than a third of raft.heartbeat_timeout, and is lowered to 200ms',
    ])
  })

  test('bootstrap_expect is 1 without join_addrs, 0 with, 0 on a client', () => {
    const expectOf = (raw: object): number => settingsOf(raw).raft.bootstrapExpect
    expect(expectOf({})).toBe(1)
    expect(expectOf(at('membership.join_addrs', '127.0.0.1'))).toBe(0)
    expect(expectOf(at('raft.role', 'client'))).toBe(0)
    expect(settingsOf(at('raft.enabled', false)).raft).toMatchObject({ role: 'client', isEligible: false })
    expect(settingsOf(at('raft.bootstrap_expect', 3)).raft).toMatchObject({ isBootstrapExpectGiven: true })
    expect(expectOf({ membership: { join_addrs: 'a' }, raft: { eligible: false } })).toBe(0)
  })

  test.each<[raw: Record<string, unknown>, warning: RegExp]>([
    [at('raft.bootstrap_expect', 2), /^raft\.bootstrap_expect: no fault tolerance/],
    [
      { membership: { join_addrs: 'a' }, raft: { bootstrap_expect: 1 } },
      /^raft\.bootstrap_expect: this node founds a cluster of its own when/,
    ],
    [at('raft.data_dir', 'memory'), /^raft\.data_dir: diskless/],
    [at('raft.read_mode', 'lease'), /^raft\.read_mode: .* suspended/],
  ])('%j is warned of', (raw, warning) => {
    expect(warningsOf(raw)).toEqual([expect.stringMatching(warning)])
    expect(clusterSettings(raw, machine()).warnings, 'not while the cluster is off').toEqual([])
  })

  test('raft.data_dir: a directory beside what said so, or memory', () => {
    expect(settingsOf(at('raft.data_dir', 'store')).raft.storage).toEqual({ kind: 'disk', dir: '/app/store' })
    expect(settingsOf(at('raft.data_dir', 'memory')).raft.storage).toEqual({ kind: 'memory' })
    expect(settingsOf({ name: 'n1' }).raft.storage).toEqual({ kind: 'disk', dir: '/data/n1' })
  })

  test('tags that may outgrow the meta of gossip are told with their sizes', () => {
    const raw = { id: 'x'.repeat(32), failure_domain: 'y'.repeat(64), internode: { advertise_addr: 'localhost' } }
    expect(problemsOf(raw)).toEqual([])
    const long = machine({ packageVersion: `1.0.0-${'z'.repeat(200)}` })
    expect(problemsOf(raw, long)).toEqual([
      expect.stringMatching(
        /^internode\.advertise_addr: the tags of this node may take \d+ bytes, and gossip carries 512; .*role 14.*cluster_id 46.*failure_domain 82/,
      ),
    ])
    expect(problemsOf({}, machine({ packageVersion: 'z'.repeat(500) }))).toEqual([expect.stringMatching(/^internode/)])
  })

  test('the longest settings that are allowed one by one fit together', () => {
    const raw = {
      id: 'x'.repeat(32),
      failure_domain: 'y'.repeat(64),
      membership: { secret_key: KEY_32 },
      internode: { advertise_addr: `${'a'.repeat(50)}.${'b'.repeat(49)}` },
      raft: { priority: 10_000 },
    }
    expect(problemsOf(raw)).toEqual([])
  })
})

describe('addresses', () => {
  test.each(['membership.bind_addr', 'internode.bind_addr'])('%s is an IP literal, made canonical', (path) => {
    expect(problemsOf(both(keyed, at(path, '::FFFF:10.0.0.1')))).toEqual([])
    for (const wrong of ['', 'localhost', '10.0.0', '10.0.0.256', 'fe80::1%eth0', '10.0.0.1:80', '[::1]', 7]) {
      expect(problemsOf(both(keyed, at(path, wrong))), String(wrong)).toEqual([
        expect.stringMatching(new RegExp(`^${path}: expected `)),
      ])
    }
    const settings = settingsOf(both(keyed, at('membership.bind_addr', '::FFFF:10.0.0.1')))
    expect(settings.membership.bindHost).toBe('10.0.0.1')
    expect(settings.internode.bindHost).toBe('10.0.0.1')
  })

  test.each(['membership.advertise_addr', 'internode.advertise_addr'])('%s is an IP or a DNS name', (path) => {
    for (const right of [
      '10.0.0.9',
      'fd00::9',
      'node-1.example.org',
      'node_1',
      `${'a'.repeat(50)}.${'b'.repeat(49)}`,
    ]) {
      expect(problemsOf(both(keyed, at(path, right))), right).toEqual([])
    }
    for (const wrong of ['10.0.0', 'a b', '-a', 'a..b', '0.0.0.0', '::', 'a:80', 'fe80::1%eth0', 'x'.repeat(254)]) {
      expect(problemsOf(both(keyed, at(path, wrong))), wrong).toEqual([expect.stringMatching(new RegExp(`^${path}: `))])
    }
  })

  test('what is advertised: the setting, else the bound address, else the first private one', () => {
    const advertised = (membership: object, interfaces?: { name: string; address: string }[]): string =>
      settingsOf(
        { enabled: true, membership: { secret_key: KEY_32, ...membership } },
        machine(interfaces && { interfaces }),
      ).membership.advertiseHost
    expect(advertised({ advertise_addr: 'node-1.example.org' })).toBe('node-1.example.org')
    expect(advertised({ bind_addr: '203.0.113.7' })).toBe('203.0.113.7')
    expect(advertised({})).toBe('10.0.0.5')
    const six = [
      { name: 'lo', address: '::1' },
      { name: 'eth0', address: 'fe80::1' },
      { name: 'eth0', address: '2001:db8::1' },
      { name: 'eth0', address: 'fd00::5' },
    ]
    expect(advertised({ bind_addr: '::' }, six)).toBe('fd00::5')
    expect(advertised({ bind_addr: '::' }, [...six, { name: 'eth1', address: '172.31.0.1' }])).toBe('172.31.0.1')
    expect(advertised({}, [{ name: 'cg', address: '100.64.0.1' }])).toBe('100.64.0.1')
  })

  test('a machine without a private address is told to set one, if the cluster is on', () => {
    const context = machine({ interfaces: [{ name: 'wan', address: '203.0.113.7' }] })
    expect(problemsOf({ enabled: true, ...keyed }, context)).toEqual([
      'membership.bind_addr: bound to 0.0.0.0, this machine has no private address to tell the others: set membership.advertise_addr',
    ])
    expect(problemsOf(keyed, context)).toEqual([])
    expect(
      problemsOf({ enabled: true, ...both(keyed, at('membership.advertise_addr', '203.0.113.7')) }, context),
    ).toEqual([])
    // IPv6 addresses do not help a node that hears IPv4 alone.
    const six = machine({ interfaces: [{ name: 'eth0', address: 'fd00::5' }] })
    expect(problemsOf({ enabled: true, ...keyed }, six)).toHaveLength(1)
  })

  test('allowed_cidrs: ranges', () => {
    const { allowedCidrs } = settingsOf(at('membership.allowed_cidrs', ['10.0.0.0/8', 'fd00::/8'])).membership
    expect(allowedCidrs.map(({ bits }) => bits)).toEqual([8, 8])
    expect(
      settingsOf(at('membership.allowed_cidrs', '10.0.0.0/8, 192.168.0.0/16')).membership.allowedCidrs,
    ).toHaveLength(2)
    expect(problemsOf(at('membership.allowed_cidrs', ['10.0.0.0/8', '10.0.0.0', '::/129', 5]))).toEqual([
      'membership.allowed_cidrs.1: expected a range such as 10.0.0.0/8 or fd00::/8, found "10.0.0.0"',
      'membership.allowed_cidrs.2: expected a range such as 10.0.0.0/8 or fd00::/8, found "::/129"',
      'membership.allowed_cidrs.3: expected text, found 5',
    ])
    expect(problemsOf(at('membership.allowed_cidrs', new Array(257).fill('10.0.0.0/8')))).toEqual([
      'membership.allowed_cidrs: expected at most 256 items, found 257',
    ])
    expect(problemsOf(at('membership.allowed_cidrs', true))).toEqual([
      'membership.allowed_cidrs: expected a list, found true',
    ])
  })
})

describe('join_addrs', () => {
  const seeds = (join_addrs: unknown, more: object = {}) =>
    settingsOf({ membership: { join_addrs, ...more } }).membership.seeds

  test('host, host:port, name/host:port; a list or text with commas; IPv6 in brackets', () => {
    const expected = [
      { name: undefined, host: '10.0.0.1', port: 7946 },
      { name: undefined, host: 'seed.example.org', port: 8000 },
      { name: 'n1', host: 'fd00::1', port: 7946 },
      { name: 'n2', host: '::1', port: 1 },
    ]
    const items = ['10.0.0.1', 'seed.example.org:8000', 'n1/[FD00::1]', 'n2/[::1]:1']
    expect(seeds(items)).toEqual(expected)
    expect(seeds(items.join(', '))).toEqual(expected)
    expect(seeds('')).toEqual([])
    expect(seeds([])).toEqual([])
  })

  test('the default port is the bound one, and memberlist’s when that is any', () => {
    expect(seeds('a', { bind_port: 8000 })[0]?.port).toBe(8000)
    expect(seeds('a', { bind_port: 0 })[0]?.port).toBe(7946)
  })

  test.each([
    ['a,,b', 'an item is empty'],
    ['a,', 'an item is empty'],
    ['a:0', 'a port is a number from 1 to 65535'],
    ['a:65536', 'a port is a number from 1 to 65535'],
    ['a:x', 'a port is a number from 1 to 65535'],
    ['a:', 'a port is a number from 1 to 65535'],
    ['::1', 'an IPv6 address stands in brackets: "[::1]:7946"'],
    ['[10.0.0.1]', 'brackets are for an IPv6 address'],
    ['[::1', 'expected host, host:port or name/host:port'],
    ['[::1]x', 'expected host, host:port or name/host:port'],
    ['[fe80::1%eth0]:1', 'brackets are for an IPv6 address'],
    ['n_1/a', 'the name before "/" has 1 to 128 letters'],
    ['/a', 'the name before "/" has 1 to 128 letters'],
    ['n1/', 'expected host, host:port or name/host:port'],
    ['a b', 'no such host name or address'],
    ['10.0.0.300', 'no such host name or address'],
    ['http://a:80', 'the name before "/" has'],
    ['x'.repeat(600), 'more than 512 characters'],
  ])('%j is malformed', (join_addrs, why) => {
    expect(problemsOf(at('membership.join_addrs', join_addrs))).toEqual([
      expect.stringContaining(`membership.join_addrs: `),
    ])
    expect(problemsOf(at('membership.join_addrs', join_addrs))[0]).toContain(why)
  })

  test('a list says which item is malformed', () => {
    expect(problemsOf(at('membership.join_addrs', ['a', 'b:0', 5]))).toEqual([
      'membership.join_addrs.1: "b:0": a port is a number from 1 to 65535',
      'membership.join_addrs.2: expected text, found 5',
    ])
  })
})

describe('keys', () => {
  test.each([
    ['16 bytes', KEY_16, 16],
    ['24 bytes', KEY_24, 24],
    ['32 bytes', KEY_32, 32],
    ['no padding', KEY_32.replace(/=+$/, ''), 32],
    ['the url-safe alphabet', Buffer.alloc(32, 0xfb).toString('base64url'), 32],
    ['the standard alphabet', Buffer.alloc(32, 0xfb).toString('base64'), 32],
  ])('%s is a key', (_what, secret_key, bytes) => {
    const settings = settingsOf({ membership: { secret_key } })
    expect(settings.membership.keys.map((key) => key.length)).toEqual([bytes])
    expect(settings.security).toEqual({ gossip: 'key', mesh: 'key' })
  })

  test.each([
    [
      Buffer.alloc(20).toString('base64'),
      /a gossip key has 16, 24 or 32 bytes, this one has 20; `runtime keygen` makes one$/,
    ],
    ['c2VjcmV0', /this one has 6/],
    ['not base64!', /written in base64/],
    [`${KEY_16.slice(0, -2)}=`, /written in base64/],
    ['A'.repeat(21), /written in base64/],
  ])('%s is none', (secret_key, message) => {
    const problems = problemsOf({ membership: { secret_key } })
    expect(problems).toEqual([expect.stringMatching(message)])
    expect(problems[0]).not.toContain(secret_key)
  })

  test('a key is never shown, whatever is wrong with it', () => {
    expect(problemsOf({ membership: { secret_key: 123_456 } })).toEqual([
      'membership.secret_key: expected text, found something else; put it in quotes',
    ])
    expect(problemsOf({ membership: { secret_key: KEY_16, decrypt_keys: ['s3cret', 123_456] } }).join()).not.toMatch(
      /s3cret|123456/,
    )
  })

  test('decrypt_keys stand behind the primary, and need one', () => {
    expect(
      settingsOf({ membership: { secret_key: KEY_16, decrypt_keys: [KEY_24, KEY_32] } }).membership.keys.map(
        (k) => k.length,
      ),
    ).toEqual([16, 24, 32])
    expect(problemsOf({ membership: { decrypt_keys: [KEY_24] } })).toEqual([
      'membership.decrypt_keys: they need a primary key: set membership.secret_key or membership.secret_file',
    ])
    expect(problemsOf({ membership: { secret_key: KEY_16, decrypt_keys: new Array(16).fill(KEY_24) } })).toEqual([
      'membership.decrypt_keys: expected at most 15 items, found 16',
    ])
  })

  test('secret_file: the primary on the first line, keys that decrypt below it', () => {
    const raw = { membership: { secret_file: 'keys', decrypt_keys: [KEY_24] } }
    const { membership, security } = settingsOf(raw, machine({}, { '/app/keys': `${KEY_16}\n\n${KEY_32}\r\n` }))
    expect(membership.keys.map((key) => key.length)).toEqual([16, 32, 24])
    expect(membership.keyFile).toBe('/app/keys')
    expect(membership.bindHost).toBe('0.0.0.0')
    expect(security.gossip).toBe('key')
  })

  test.each([
    [{}, '/app/keys cannot be read: no such file'],
    [{ '/app/keys': '' }, '/app/keys: it holds no key; `runtime keygen` makes one'],
    [
      { '/app/keys': `${KEY_16}\nc2VjcmV0` },
      '/app/keys: line 2: a gossip key has 16, 24 or 32 bytes, this one has 6; `runtime keygen` makes one',
    ],
    [{ '/app/keys': `${KEY_16}\n`.repeat(17) }, '/app/keys: it holds more than 16 keys'],
  ])('secret_file %j is wrong', (files, why) => {
    expect(problemsOf(at('membership.secret_file', 'keys'), machine({}, files))).toEqual([
      `membership.secret_file: ${why}`,
    ])
  })

  test('a file and an inline key exclude each other', () => {
    const raw = { membership: { secret_file: '/k', secret_key: KEY_16 } }
    expect(problemsOf(raw, machine({}, { '/k': KEY_16 }))).toEqual([
      'membership.secret_file: give membership.secret_key or membership.secret_file, but not both',
    ])
  })

  test('a file that others may read is warned of', () => {
    const raw = at('membership.secret_file', '/k')
    expect(warningsOf(raw, machine({}, { '/k': { text: KEY_16, mode: 0o100_644 } }))).toEqual([
      'membership.secret_file: /k has mode 0644: others can use the key; chmod 0640 closes it',
    ])
    expect(warningsOf(raw, machine({}, { '/k': { text: KEY_16, mode: 0o100_640 } }))).toEqual([])
  })
})

describe('secure by default (§2.3)', () => {
  test('without a key a node is on loopback, with one on every address', () => {
    expect(settingsOf({}).membership.bindHost).toBe('127.0.0.1')
    expect(settingsOf(keyed)).toMatchObject({ membership: { bindHost: '0.0.0.0' }, internode: { bindHost: '0.0.0.0' } })
  })

  test.each([
    ['membership.bind_addr', '0.0.0.0'],
    ['membership.bind_addr', '10.0.0.5'],
    ['membership.bind_addr', '::'],
    ['membership.advertise_addr', '10.0.0.5'],
    ['membership.advertise_addr', 'node-1.example.org'],
    ['internode.bind_addr', '10.0.0.5'],
    ['internode.advertise_addr', 'node-1.example.org'],
  ])('%s: %s needs a key, or the word that none is wanted', (path, host) => {
    const [problem, ...more] = problemsOf(at(path, host))
    expect(more).toEqual([])
    expect(problem).toMatch(new RegExp(`^${path}: ${host} can be reached from other machines`))
    expect(problem).toContain('`runtime keygen`')
    expect(problem).toContain('`runtime cert`')
    expect(problem).toContain('cluster.allow_insecure: true')
    expect(problemsOf(both(at(path, host), keyed))).toEqual([])
    expect(problemsOf({ ...at(path, host), allow_insecure: true })).toEqual([])
  })

  test.each([
    ['membership.bind_addr', '127.8.8.8'],
    ['membership.bind_addr', '::1'],
    ['membership.advertise_addr', 'localhost'],
    ['internode.bind_addr', '127.0.0.1'],
  ])('%s: %s needs none', (path, host) => {
    expect(problemsOf(at(path, host))).toEqual([])
  })

  test('a key that is wrong is one problem, not two', () => {
    expect(problemsOf({ membership: { bind_addr: '0.0.0.0', secret_key: 'x' } })).toHaveLength(1)
  })
})

describe('what gossip is told', () => {
  test('the defaults are those of the machine itself', () => {
    expect(swimSettingsOf(settingsOf({}))).toEqual(defaultSwimSettings)
  })

  test('label and encryption take their bytes from each packet', () => {
    expect(swimSettingsOf(settingsOf(keyed)).packetBudgetBytes).toBe(1400 - 2 - 29)
    const labelled = settingsOf(both(keyed, { membership: { label: 'blue', packet_size: 512 } }))
    expect(swimSettingsOf(labelled).packetBudgetBytes).toBe(512 - 2 - 6 - 29)
    const unverified = settingsOf(both(keyed, { membership: { gossip_verify_outgoing: false } }))
    expect(swimSettingsOf(unverified).packetBudgetBytes).toBe(1398)
  })

  test('interop chooses the versions', () => {
    expect(swimSettingsOf(settingsOf(at('membership.interop', 'memberlist')))).toMatchObject({
      speaksSerf: false,
      versions: VERSIONS.memberlist,
    })
  })

  test('the envelope has the ring, a new one each time', () => {
    const settings = settingsOf({
      membership: { secret_key: KEY_16, decrypt_keys: [KEY_24], gossip_verify_incoming: false, compression: false },
    })
    const envelope = gossipEnvelopeOf(settings)
    expect(envelope).toMatchObject({
      verifyIncoming: false,
      verifyOutgoing: true,
      compression: false,
      encryptionVersion: 1,
    })
    expect(envelope.keyring?.keys.map((key) => key.length)).toEqual([16, 24])
    expect(gossipEnvelopeOf(settings).keyring).not.toBe(envelope.keyring)
    expect(gossipEnvelopeOf(settingsOf({})).keyring).toBeUndefined()
  })
})

test('whatever stands there is read or told, never thrown', () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('0', '1s', '999999h', '1e9MiB', '9999GiB', '-1', 'memory', '[::1]', '0.0.0.0', KEY_16, 'a/b:1,'),
    fc.bigInt(),
    fc.double(),
  )
  const setting = fc.tuple(fc.constantFrom(...settingsIn(KEYS).map(({ path }) => path)), value)
  const section = fc.array(setting, { maxLength: 12 })
  fc.assert(
    fc.property(section, (settings) => {
      const raw = settings.reduce((all, [path, each]) => both(all, at(path, each)), {})
      const reading = clusterSettings(raw, machine())
      expect(reading.settings === undefined).toBe(reading.problems.length > 0)
      if (reading.settings !== undefined) swimSettingsOf(reading.settings)
    }),
    { numRuns: 500 },
  )
})

test('every default is one that its own setting would take', () => {
  for (const { path, setting } of settingsIn(KEYS)) {
    const [, written] = /^`([^`]*)`$/.exec(setting.defaultText) ?? []
    if (written === undefined || written === '""' || written === '[]' || path.endsWith('data_dir')) continue
    if (['name', 'internode.bind_addr', 'raft.shutdown_transfer_timeout'].includes(path)) continue
    expect(
      setting.read(written, (message) => expect.fail(`${path}: ${message}`)),
      path,
    ).toEqual(setting.fallback)
  }
})
