// The contract with whoever runs a cluster, row by row, on three real nodes that everything below shares: the commands and the JSON that scripts rely
// on, every route, every metric, every check. operations.md §2, §3, §5.

import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Check, ClusterStatusBody } from '../../runtime/admin/shapes.ts'
import { ask } from '../../runtime/cli/client.ts'
import { addressesOf, Cli, type CliResult, logRecords, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

const NAMES = ['a', 'b', 'c']
const TOKEN = 'a-token-that-nobody-guesses'
const PATIENCE = { timeoutMs: 60_000 }
const APP = `version: "1.0"
namespace: shop
cluster:
  enabled: true
  membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 50ms }
  raft: { bootstrap_expect: 3, bootstrap_stability: 1s }
entries:
  - { name: processes, kind: process.host, lifecycle: { auto_start: true } }
  - { name: prices, kind: store.kv.raft, namespace: prices, lifecycle: { auto_start: true } }
  - { name: notes, kind: store.kv.crdt, namespace: notes, lifecycle: { auto_start: true } }
  - { name: rooms, kind: pg.scope, lifecycle: { auto_start: true } }
  - { name: clerk, kind: process.lua, source: "file://clerk.lua", modules: [system, pg, time, logger] }
  - { name: clerk.service, kind: process.service, process: clerk, host: processes, lifecycle: { auto_start: true } }
`
/** Owns one of everything: a name in each scope, a lock, a place in a group. What is wanted by all is had by one of them. */
const CLERK = `local system, pg, time, logger = require("system"), require("pg"), require("time"), require("logger")
local names = process.registry
local function main()
    local me, ends = system.node.id(), process.events()
    local rooms = assert(pg.open("shop:rooms"))
    assert(rooms:join("lobby"))
    assert(names.register("clerk"))
    local function until_true(what)
        while not what() do time.sleep("100ms") end
    end
    until_true(function() return (names.register("eventual." .. me, nil, names.EVENTUAL)) end)
    until_true(function() return (names.register("consistent." .. me, nil, names.CONSISTENT)) end)
    until_true(function() return (names.register("strong." .. me, nil, names.STRONG)) end)
    until_true(function() return (system.lock.acquire("till." .. me)) end)
    rooms:broadcast("lobby", "hello", me)
    logger:info("clerk has all", { owner = me })
    while ends:receive().kind ~= process.event.CANCEL do end
end
return { main = main }
`

let cli: Cli
const nodes = new Map<string, Program>()

beforeAll(async () => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'clerk.lua': CLERK })
  await start('a')
  await Promise.all([start('b', `admin.token=${TOKEN}`), start('c')])
  for (const program of nodes.values()) await eventually(() => program.stderr.includes('clerk has all'), PATIENCE)
  await eventually(async () => {
    const { voters, healthy } = await ask<ClusterStatusBody>(socketOf('a'), '/v1/raft')
    expect({ voters: [...voters].sort(), healthy }).toEqual({ voters: NAMES, healthy: true })
  }, PATIENCE)
}, 120_000)

afterAll(() => cli.close())

async function start(name: string, ...more: string[]): Promise<void> {
  const seed = name === 'a' ? [] : [`cluster.membership.join_addrs=${addressesOf(nodeOf('a')).gossip}`]
  const set = [`node.name=${name}`, 'admin.http=127.0.0.1:0', ...seed, ...more]
  const args = ['run', 'app.yaml', '--log-format', 'json', ...set.flatMap((each) => ['--set', each])]
  const program = cli.start(args, { withAdmin: true })
  nodes.set(name, program)
  await program.until('"event":"ready"')
}

const nodeOf = (name: string): Program => nodes.get(name) as Program
const socketOf = (name: string): string => join(cli.dir, '.runtime', name, 'admin.sock')

/** Of a command that goes well. */
async function shown(...args: string[]): Promise<string> {
  const result = await cli.run(args)
  expect(result).toMatchObject({ code: 0, stderr: '' })
  return result.stdout
}

async function json<T = unknown>(...args: string[]): Promise<T> {
  return JSON.parse(await shown(...args, '--json')) as T
}

async function leader(): Promise<string> {
  return (await shown('cluster', 'status', '--leader', '--node', 'a')).trim()
}

const text = expect.any(String) as string
const number = expect.any(Number) as number
const yesOrNo = expect.any(Boolean) as boolean

describe('what commands say as JSON, and to people', () => {
  test('cluster status', async () => {
    const body = await json<ClusterStatusBody>('cluster', 'status', '--node', 'b')
    expect(body).toMatchObject({
      node: 'b',
      cluster_id: 'default',
      role: expect.stringMatching(/^(leader|voter)$/),
      leader: expect.stringMatching(/^[abc]$/),
      term: number,
      commit_index: number,
      applied_index: number,
      standbys: [],
      members: 3,
      quorum: true,
      healthy: yesOrNo,
      version: text,
    })
    expect([...body.voters].sort()).toEqual(NAMES)
    for (const check of body.checks) expect(check).toEqual({ name: text, ok: yesOrNo, detail: text })
    const lines = (await shown('cluster', 'status', '--node', 'b')).split('\n')
    for (const title of ['node ', 'cluster ', 'leader ', 'term ', 'voters ', 'standbys ', 'quorum '])
      expect(lines.some((line) => line.startsWith(title))).toBe(true)
    expect(lines).toContain(`leader     ${body.leader}`)
    expect(await leader()).toBe(body.leader)
    expect(await json('cluster', 'status', '--leader', '--node', 'b')).toEqual({ leader: body.leader })
  })

  test('cluster members', async () => {
    const rows = await json<Record<string, unknown>[]>('cluster', 'members', '--node', 'c')
    expect(rows.map(({ name, local, state }) => [name, local, state])).toEqual([
      ['c', true, 'alive'],
      ['a', false, 'alive'],
      ['b', false, 'alive'],
    ])
    for (const row of rows) {
      expect(row).toMatchObject({
        addr: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        mesh_addr: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        role: expect.stringMatching(/^(leader|voter)$/),
        suffrage: 'voter',
        incarnation: number,
        failure_domain: text,
        tags: expect.any(Object),
        version: text,
      })
      expect(row).toHaveProperty('rtt_ms')
    }
    const lines = (await shown('cluster', 'members', '--node', 'c')).trim().split('\n')
    expect(lines[0]).toMatch(/^NAME +ADDRESS +STATE +ROLE +SUFFRAGE +INCARNATION +RTT +DOMAIN +VERSION$/)
    expect(lines.map((line) => line.split(/ {2,}/)[0])).toEqual(['NAME', 'c *', 'a', 'b'])
  })

  test('ps', async () => {
    const rows = await json<Record<string, unknown>[]>('ps', '--node', 'a', '--host', 'shop:processes')
    expect(rows).toEqual([
      expect.objectContaining({
        pid: expect.stringMatching(/^\{a@shop:processes\|/),
        entry: 'shop:clerk',
        host: 'shop:processes',
        state: 'waiting',
        mailbox: number,
        reductions: number,
        memory: number,
        age_ms: number,
        names: expect.arrayContaining(['clerk']),
      }),
    ])
    expect(await shown('ps', '--node', 'a')).toMatch(
      /^PID +ENTRY +STATE +MAILBOX +REDUCTIONS +MEMORY +AGE +NAMES\n\{a@/,
    )
  })

  test('names, in every scope', async () => {
    for (const [scope, name, count] of [
      ['local', 'clerk', 1],
      ['eventual', 'eventual.', 3],
      ['consistent', 'consistent.', 3],
      ['strong', 'strong.', 3],
    ] as const) {
      await eventually(async () => {
        const rows = await json<Record<string, string>[]>('names', name, '--scope', scope, '--node', 'a')
        expect(rows).toHaveLength(count)
        for (const row of rows) {
          const { node } = row
          expect(row).toEqual({ name: text, scope, pid: expect.stringMatching(`^\\{${node}@shop:processes\\|`), node })
        }
      })
    }
    expect(await shown('names', 'strong.', '--node', 'a')).toMatch(/^NAME +SCOPE +PID +NODE\nstrong\.a +strong +\{a@/)
  })

  test('locks', async () => {
    const rows = await json<Record<string, unknown>[]>('locks', 'till.', '--node', 'c')
    expect(rows.map(({ name, node }) => [name, node])).toEqual([
      ['till.a', 'a'],
      ['till.b', 'b'],
      ['till.c', 'c'],
    ])
    for (const row of rows) expect(row).toMatchObject({ holder: text, token: number, since: text })
    expect(Number.isNaN(Date.parse(String(rows[0]?.['since'])))).toBe(false)
    expect(await shown('locks', '--node', 'c')).toMatch(/^NAME +HOLDER +NODE +TOKEN +SINCE +WAITERS\ntill\.a +\{a@/)
  })

  test('groups', async () => {
    await eventually(async () => {
      const rows = await json<{ members: string[] }[]>('groups', 'shop:rooms', '--node', 'b')
      expect(rows).toEqual([{ scope: 'shop:rooms', group: 'lobby', members: [text, text, text] }])
      expect(rows[0]?.members.map((pid) => pid.slice(1, 2)).sort()).toEqual(NAMES)
    })
    expect(await shown('groups', '--node', 'b')).toMatch(/^SCOPE +GROUP +COUNT +MEMBERS\nshop:rooms +lobby +3 /)
  })

  test.each(['prices', 'notes'])('kv get, put, delete, list and stores: %s', async (store) => {
    const id = `shop:${store}`
    const put = await json<Record<string, unknown>>('kv', 'put', id, 'tea', '{"grams": 3}', '--node', 'a')
    expect(put).toMatchObject({ key: ':tea', value: { grams: 3 }, version: text })
    await shown('kv', 'put', id, 'brief', 'soon over', '--ttl', '90s', '--node', 'a')
    await eventually(async () => {
      expect(await json('kv', 'get', id, 'tea', '--node', 'b')).toEqual(put)
      const page = await json<{ items: object[] }>('kv', 'list', id, '--node', 'c')
      expect(page).toMatchObject({ cursor: text, has_more: false })
      expect(page.items).toEqual([
        { key: ':brief', value: 'soon over', version: text, expires_at: text },
        { key: ':tea', value: { grams: 3 }, version: text },
      ])
    })
    expect(await shown('kv', 'get', id, 'brief', '--node', 'b')).toBe('soon over\n')
    expect(await shown('kv', 'list', id, '--node', 'b')).toMatch(/^KEY .*\n:brief .*\n:tea /)
    expect(await json('kv', 'delete', id, 'tea', '--node', 'a')).toEqual({ deleted: true })
    expect(await cli.run(['kv', 'get', id, 'tea', '--node', 'a'])).toMatchObject({ code: 1, stdout: '' })
    const stores = await json<{ id: string }[]>('kv', 'stores', '--node', 'a')
    expect(stores.map((row) => row.id).sort()).toEqual(['shop:notes', 'shop:prices'])
  })

  test('logs, with what lines of Lua and of the cluster carry', async () => {
    const records = await json<Record<string, unknown>[]>('logs', '-n', '100000', '--node', 'c')
    expect(records.find(({ msg }) => msg === 'clerk has all')).toMatchObject({
      level: 'info',
      time: number,
      pid: text,
      entry: 'shop:clerk',
      line: expect.stringMatching(/^shop:clerk:\d+$/),
      owner: 'c',
    })
    const led = records.find(({ event }) => event === 'raft_leader_elected')
    expect(led).toMatchObject({ node: 'c', leader: expect.stringMatching(/^[abc]$/), term: number })
    expect(records.find(({ event }) => event === 'mesh_up')).toMatchObject({ node: 'c', peer: text })
  })

  test('version', async () => {
    expect(await json('version')).toMatchObject({ moonmesh: text, node: process.version, lua: text, engine: text })
  })
})

describe('what an operator does', () => {
  test('transfer: to whom, or to the best one', async () => {
    const before = await leader()
    const [next = ''] = NAMES.filter((name) => name !== before)
    expect(await json('cluster', 'transfer', next, '--node', before)).toEqual({ leader: next })
    await eventually(async () => expect(await leader()).toBe(next))
    const { leader: another } = await json<{ leader: string }>('cluster', 'transfer', '--node', before)
    expect(another).not.toBe(next)
    await eventually(async () => expect(await leader()).toBe(another))
  })

  test('join, and remove, which spares those who are there', async () => {
    const { gossip = '' } = addressesOf(nodeOf('a'))
    expect(await json('cluster', 'join', gossip, '--node', 'b')).toEqual({ joined: 1 })
    for (const name of NAMES) {
      const refused = await cli.run(['cluster', 'remove', name, '--node', 'a'])
      expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(`${name} is there`) })
    }
    const forced = await cli.run(['cluster', 'remove', 'c', '--force', '--node', 'a'])
    expect(forced).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('terminal') })
    const unknown = await cli.run(['cluster', 'remove', 'nobody', '--node', 'a'])
    expect(unknown).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('nobody') })
  })

  test('snapshot save and inspect', async () => {
    const saved = await json<Record<string, unknown>>('cluster', 'snapshot', 'save', 'backup', '--node', 'c')
    expect(saved).toMatchObject({
      file: join(cli.dir, 'backup'),
      cluster_id: 'default',
      index: number,
      locks: { held: 3 },
    })
    expect(await json('cluster', 'snapshot', 'inspect', 'backup')).toEqual(saved)
    expect(await shown('cluster', 'snapshot', 'inspect', 'backup')).toContain('default')
    const busy = await cli.run(['cluster', 'snapshot', 'restore', 'backup', '--node', 'a', '--force'])
    expect(busy).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('is running') })
  })

  test('a node is chosen by name or socket; without either, they are listed', async () => {
    const several = await cli.run(['ps'])
    expect(several).toMatchObject({ code: 2, stdout: '' })
    for (const name of NAMES) expect(several.stderr).toContain(`--node ${name}\n`)
    expect((await json<object[]>('ps', '--socket', '.runtime/b/admin.sock')).length).toBeGreaterThan(0)
  })
})

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: unknown
}

/** Over TCP. */
function get(
  node: string,
  path: string,
  order: { method?: string; token?: string; body?: string } = {},
): Promise<Answer> {
  const { method = 'GET', token, body } = order
  const headers = {
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  return new Promise((done, fail) => {
    const url = `http://${addressesOf(nodeOf(node)).admin}${path}`
    const sent = request(url, { method, headers, agent: false }, (response) => {
      let got = ''
      response.setEncoding('utf8').on('data', (piece: string) => {
        got += piece
      })
      response.on('end', () => {
        const type = response.headers['content-type'] ?? ''
        const parsed: unknown = type.startsWith('application/json') ? JSON.parse(got) : got
        done({ status: response.statusCode ?? 0, type, body: parsed })
      })
      response.on('error', fail)
    })
    sent.on('error', fail)
    sent.end(body)
  })
}

describe('the admin interface', () => {
  const SHOWN = ['status', 'members', 'raft', 'names', 'locks', 'groups', 'processes', 'services', 'entries']

  test.each(SHOWN)('GET /v1/%s: the same over TCP as over the socket', async (what) => {
    const { status, type, body } = await get('a', `/v1/${what}`)
    expect({ status, type }).toEqual({ status: 200, type: 'application/json; charset=utf-8' })
    const local = await ask<object>(socketOf('a'), `/v1/${what}`)
    const one = (given: unknown): string[] => Object.keys((Array.isArray(given) ? given[0] : given) as object).sort()
    expect(one(body)).toEqual(one(local))
    expect(one(body).length).toBeGreaterThan(1)
  })

  test('services and entries of the app, and the node at a glance', async () => {
    const services = (await get('a', '/v1/services')).body as { id: string; state: string }[]
    expect(services).toContainEqual(expect.objectContaining({ id: 'shop:clerk.service', state: 'running' }))
    expect((await get('a', '/v1/entries')).body).toContainEqual({ id: 'shop:clerk', kind: 'process.lua' })
    expect((await get('a', '/v1/status')).body).toMatchObject({ node: 'a', os_pid: nodeOf('a').pid, version: text })
  })

  test('stores over TCP: reading is free, writing needs the token, and conditions hold', async () => {
    const path = '/v1/kv/shop:prices/%3Acoffee'
    const put = (order: { token?: string }, node = 'b') => get(node, path, { method: 'PUT', body: '4', ...order })
    expect(await put({})).toMatchObject({ status: 403, body: { error: { kind: 'PermissionDenied' } } })
    expect(await put({ token: 'another' })).toMatchObject({ status: 403 })
    const unset = await put({ token: TOKEN }, 'a')
    expect(unset).toMatchObject({ status: 403 })
    expect(JSON.stringify(unset.body)).toContain(socketOf('a'))
    const written = await put({ token: TOKEN })
    expect(written).toMatchObject({ status: 200, body: { key: ':coffee', value: 4 } })
    await eventually(async () => expect((await get('a', path)).body).toEqual(written.body))
    const page = (await get('a', '/v1/kv/shop:prices?prefix=:cof&after=&limit=5')).body
    expect(page).toEqual({ items: [written.body], cursor: text, has_more: false })
    const { version } = written.body as { version: string }
    const conditional = (headers: Record<string, string>): Promise<unknown> =>
      ask(socketOf('c'), path, { method: 'PUT', body: 5, headers })
    await expect(conditional({ 'if-none-match': '*' })).rejects.toMatchObject({ kind: 'AlreadyExists' })
    await expect(conditional({ 'if-match': `"${BigInt(version) + 99n}"` })).rejects.toMatchObject({ kind: 'Conflict' })
    expect(await conditional({ 'if-match': `"${version}"` })).toMatchObject({ value: 5 })
    expect(await get('b', path, { method: 'DELETE', token: TOKEN })).toMatchObject({ body: { deleted: true } })
  })

  test('orders over TCP need the token', async () => {
    for (const what of ['join', 'leave', 'remove', 'transfer', 'snapshot']) {
      for (const node of ['a', 'b']) {
        const { status } = await get(node, `/v1/cluster/${what}`, { method: 'POST', body: '{}' })
        expect([what, status]).toEqual([what, 403])
      }
    }
    const joining = { method: 'POST', body: '{"addresses":[]}', token: TOKEN }
    expect(await get('b', '/v1/cluster/join', joining)).toMatchObject({
      status: 400,
      body: { error: { kind: 'Invalid', message: text } },
    })
  })

  test('events: names, services and leadership are told as they change', async () => {
    let told = ''
    const sent = request(`http://${addressesOf(nodeOf('a')).admin}/v1/events`, { agent: false }, (response) => {
      expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8')
      response.setEncoding('utf8').on('data', (piece: string) => {
        told += piece
      })
      response.on('error', () => {})
    })
    sent.on('error', () => {})
    sent.end()
    await eventually(() => told.includes('node a'))
    await shown('attach', '--node', 'a', '-e', 'process.registry.register("passing")')
    await json('cluster', 'transfer', '--node', 'b')
    await eventually(() => {
      for (const kind of ['name.bound', 'process.started', 'process.ended', 'leader.changed'])
        expect(told).toContain(`"kind":"${kind}"`)
    })
    sent.destroy()
    for (const frame of told.split('\n\n').filter((each) => each.includes('data: '))) {
      const [, data = ''] = /^data: (.*)$/m.exec(frame) ?? []
      expect(JSON.parse(data)).toMatchObject({ kind: text, subject: text, time_ms: number })
    }
  })
})

describe('what watches over it', () => {
  /** Name, and labels of one series. operations.md §5. */
  const METRICS: Record<string, readonly string[]> = {
    raft_state: [],
    raft_term: [],
    raft_commit_index: [],
    raft_voters: [],
    raft_non_voters: [],
    raft_leader_changes_total: [],
    raft_voter_churn_burst_total: [],
    raft_apply_seconds: [],
    raft_fsync_seconds: [],
    gossip_members: ['state'],
    gossip_convergence_seconds: [],
    gossip_health_score: [],
    mesh_bytes_total: ['peer', 'class', 'direction'],
    mesh_queue_bytes: ['peer', 'class'],
    mesh_reconnects_total: ['peer'],
    processes: ['host', 'state'],
    process_spawns_total: [],
    process_exits_total: ['reason'],
    mailbox_messages: [],
    messages_total: ['kind'],
    scheduler_slice_seconds: [],
    scheduler_run_queue: [],
    names: ['scope'],
    locks_held: [],
    lock_wait_seconds: [],
    pg_members: ['scope'],
    pg_broadcasts_total: [],
    kv_ops_total: ['store', 'op', 'outcome'],
    event_loop_lag_seconds: [],
  }

  test.each(['a', 'b', 'c'])('every metric stands at /metrics of %s, with its labels', async (name) => {
    const { status, type, body } = await get(name, '/metrics')
    expect(status).toBe(200)
    expect(type).toMatch(/^text\/plain; version=0\.0\.4/)
    const lines = String(body).split('\n')
    for (const [metric, labels] of Object.entries(METRICS)) {
      expect(
        lines.some((line) => line.startsWith(`# TYPE ${metric} `)),
        metric,
      ).toBe(true)
      const series = lines.filter((line) => new RegExp(`^${metric}(_bucket|_count|_sum)?[ {]`).test(line))
      // A connection that never broke has no count of its new beginnings.
      if (metric === 'mesh_reconnects_total') continue
      expect(series.length, metric).toBeGreaterThan(0)
      for (const label of labels)
        expect(
          series.every((line) => line.includes(`${label}="`)),
          metric,
        ).toBe(true)
    }
  })

  test('the figures say what is so', async () => {
    const lines = String((await get('c', '/metrics')).body).split('\n')
    for (const line of [
      'raft_voters 3',
      'locks_held 3',
      'pg_members{scope="shop:rooms"} 3',
      'gossip_members{state="alive"} 3',
    ])
      expect(lines).toContain(line)
  })

  test('health: every check by its name, 200 while all hold', async () => {
    for (const name of NAMES) {
      await eventually(async () => {
        const { status, body } = await get(name, '/readyz')
        const checks = body as Check[]
        expect([status, checks.filter(({ ok }) => !ok)]).toEqual([200, []])
        expect(checks.map((check) => check.name)).toEqual(
          expect.arrayContaining(['services', 'gossip', 'raft_last_contact', 'disk', 'pg_broadcast_recent.shop:rooms']),
        )
      })
      const { status, body } = await get(name, '/livez')
      expect(status).toBe(200)
      expect((body as Check[]).map((check) => check.name)).toEqual(
        expect.arrayContaining(['event_loop', 'gossip', 'disk']),
      )
    }
  })

  test('a service that fails makes /readyz say so; a node still lives', async () => {
    const change = (op: string, entry: string): Promise<CliResult> =>
      cli.run(['attach', '--node', 'b', '-e', `registry.snapshot():changes():${op}(${entry}):apply()`])
    const bad = `{ id = "shop:bad", kind = "process.lua", data = { source = "return { main = function() error('no') end }" } }`
    const lifecycle = '{ auto_start = true, startup = "optional", restart = { max_attempts = 1 } }'
    const service = `{ id = "shop:bad.service", kind = "process.service", data = { process = "shop:bad", host = "shop:processes", lifecycle = ${lifecycle} } }`
    expect(await change('create', `${bad}):create(${service}`)).toMatchObject({ code: 0 })
    await eventually(async () => {
      const { status, body } = await get('b', '/readyz')
      expect(status).toBe(503)
      expect(body).toContainEqual({
        name: 'services',
        ok: false,
        detail: expect.stringContaining('shop:bad.service failed'),
      })
    })
    expect((await get('b', '/livez')).status).toBe(200)
    expect(await change('delete', '"shop:bad.service"):delete("shop:bad"')).toMatchObject({ code: 0 })
    await eventually(async () => expect((await get('b', '/readyz')).status).toBe(200))
  })

  test('a majority is lost: readiness says so, the node lives, reads of its own go on', {
    timeout: 90_000,
  }, async () => {
    // The last test: nothing of the three is as it was.
    await Promise.all([nodeOf('b').kill(), nodeOf('c').kill()])
    await eventually(async () => {
      const { status, body } = await get('a', '/readyz')
      expect(status).toBe(503)
      expect((body as Check[]).filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(['session'])
    }, PATIENCE)
    expect((await get('a', '/livez')).status).toBe(200)
    expect((await get('a', '/v1/members')).status).toBe(200)
    expect(await json('cluster', 'status', '--node', 'a')).toMatchObject({
      leader: null,
      quorum: false,
      healthy: false,
    })
    expect(await cli.run(['cluster', 'status', '--leader', '--node', 'a'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: 'error: there is no leader that this node knows of\n',
    })
    const records = logRecords(nodeOf('a').stderr)
    expect(records).toContainEqual(expect.objectContaining({ event: 'raft_leader_lost', node: 'a' }))
  })
})
