// Certificates from the command, and nodes that prove their names with them. operations.md §2, §4; cluster.md §4.3.

import { readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type ConnectionOptions, connect } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addressesOf, Cli, logRecords, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

let cli: Cli

beforeEach(() => {
  cli = new Cli()
  cli.write({ 'app.yaml': APP, 'gossip.key': 'MDEyMzQ1Njc4OWFiY2RlZg==\n', 'echo.lua': ECHO, 'ask.lua': ASK })
})

afterEach(() => cli.close())

const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  membership: { bind_addr: 127.0.0.1, bind_port: 0, gossip_interval: 50ms, secret_file: gossip.key }
  internode: { bind_addr: 127.0.0.1 }
entries:
  - name: processes
    kind: process.host
    lifecycle: { auto_start: true }
  - { name: echo, kind: process.lua, source: "file://echo.lua" }
  - { name: ask, kind: process.lua, source: "file://ask.lua", modules: [system, time] }
  - name: asking
    kind: process.service
    process: ask
    host: processes
    lifecycle: { auto_start: true }
`
const ECHO = `local function main(to)
    process.send(to, "hello", process.pid())
end
return { main = main }
`
/** Says which nodes it has heard a process of. */
const ASK = `local system, time = require("system"), require("time")
local function main()
    local heard, ends, said = process.listen("hello"), process.events(), {}
    while true do
        for _, member in ipairs(system.cluster.members()) do
            if not member.is_local and not said[member.id] then
                process.spawn("app:echo", member.id .. "@app:processes", process.pid())
            end
        end
        local got = channel.select({ ends:case_receive(), heard:case_receive(), time.after("200ms"):case_receive() })
        if got.channel == ends then return end
        if got.channel == heard then
            local node = got.value:match("{(.-)@")
            if not said[node] then print("heard " .. node) end
            said[node] = true
        end
    end
end
return { main = main }
`

async function issue(dir: string, ...nodes: string[]): Promise<void> {
  expect((await cli.run(['cert', 'ca', '--out', dir])).code).toBe(0)
  for (const node of nodes) expect((await cli.run(['cert', 'issue', node, '--ca', dir, '--out', dir])).code).toBe(0)
}

const tlsSettings = (dir: string, node: string): string[] => [
  `cluster.tls.ca=${dir}/ca.pem`,
  `cluster.tls.cert=${dir}/${node}.pem`,
  `cluster.tls.key=${dir}/${node}-key.pem`,
]

async function start(name: string, join: string, ...set: string[]): Promise<{ program: Program; address: string }> {
  const settings = [`node.name=${name}`, `cluster.membership.join_addrs=${join}`, ...set]
  const program = cli.start(['run', 'app.yaml', '--log-format', 'json', ...settings.flatMap((each) => ['--set', each])])
  await program.until('"event":"ready"')
  return { program, address: addressesOf(program).gossip ?? '' }
}

test('an authority, a certificate, and what it says', async () => {
  const made = await cli.run(['cert', 'ca', '--out', 'certs', '--name', 'Test', '--json'])
  expect(JSON.parse(made.stdout)).toEqual({ cert: 'certs/ca.pem', key: 'certs/ca-key.pem' })
  expect(statSync(join(cli.dir, 'certs/ca-key.pem')).mode & 0o777).toBe(0o600)
  const issued = await cli.run(['cert', 'issue', 'node-1', '--ca', 'certs', '--out', 'certs', '--also', '10.0.0.1'])
  expect(issued.stdout).toContain('wrote certs/node-1.pem and certs/node-1-key.pem')
  const shown = await cli.run(['cert', 'show', 'certs/node-1.pem', '--json'])
  expect(shown.code).toBe(0)
  expect(JSON.parse(shown.stdout)).toMatchObject([
    { names: ['node-1'], usages: ['serverAuth', 'clientAuth'], authority: false, problem: null, issuer: 'CN=Test' },
  ])
  expect((await cli.run(['cert', 'show', 'certs/node-1.pem'])).stdout).toContain('for nodes node-1')
})

test('nothing is replaced, and what is wrong is said', async () => {
  await issue('certs', 'a')
  for (const [args, text] of [
    [['cert', 'ca', '--out', 'certs'], 'certs/ca.pem and certs/ca-key.pem exist already'],
    [['cert', 'issue', 'a', '--ca', 'certs', '--out', 'certs'], 'exist already'],
    [['cert', 'issue', 'b'], 'ca.pem: no such file; make an authority first: runtime cert ca'],
    [['cert', 'issue', '../b', '--ca', 'certs'], 'cannot name a node'],
    [['cert', 'issue', 'b_c', '--ca', 'certs'], 'b_c'],
    [['cert', 'issue', 'b', '--ca', 'certs', '--days', '0'], '--days takes a number'],
    [['cert', 'show', 'gossip.key'], 'no certificate in PEM'],
    [['cert', 'show', 'none.pem'], 'none.pem: no such file'],
  ] as const) {
    const { code, stderr } = await cli.run([...args])
    expect(code, args.join(' ')).toBeGreaterThan(0)
    expect(stderr).toContain(text)
  }
})

test('nodes with certificates of one authority reach each other; one of another authority is kept out', async () => {
  await issue('certs', 'a', 'b')
  await issue('others', 'c')
  const a = await start('a', '', ...tlsSettings('certs', 'a'))
  const b = await start('b', a.address, ...tlsSettings('certs', 'b'))
  await a.program.until('heard b')
  await b.program.until('heard a')
  const c = await start('c', a.address, ...tlsSettings('others', 'c'))
  const d = await start('d', a.address)
  const isRefused = (program: Program): boolean =>
    logRecords(program.stderr).some((record) => /refused|dial_failed/.test(String(record['event'])))
  await eventually(() => isRefused(c.program) && isRefused(d.program) && isRefused(a.program), { timeoutMs: 20_000 })
  for (const { program } of [c, d]) expect(program.stderr).not.toContain('heard')
  for (const { program } of [a, b]) expect(program.stderr).not.toMatch(/heard [cd]/)
})

test('a certificate for another node, or without its key, ends the start', async () => {
  await issue('certs', 'a', 'b')
  const run = (...set: string[]) => cli.run(['run', 'app.yaml', ...set.flatMap((each) => ['--set', each])])
  const other = await run('node.name=a', ...tlsSettings('certs', 'b'))
  expect(other.code).toBe(2)
  expect(other.stderr).toMatch(/cluster\.tls\.cert: .*b/)
  const [ca, cert] = tlsSettings('certs', 'a')
  const mixed = await run('node.name=a', ca as string, cert as string, 'cluster.tls.key=certs/b-key.pem')
  expect(mixed.code).toBe(2)
  expect(mixed.stderr).toContain('not the key')
  const partial = await run('node.name=a', ca as string)
  expect(partial.code).toBe(2)
  expect(partial.stderr).toContain('go together')
})

/** What a node says of others, by event and peer. */
const told = ({ program }: { program: Program }, event: string): Record<string, unknown>[] =>
  logRecords(program.stderr).filter((record) => record['event'] === event)

/** Keys and certificates are made, nodes started: that takes as long as the machine needs. */
const PATIENT = { timeout: 120_000 }

/** Tries a handshake as a stranger. @returns the version that was agreed on, or why there is none */
function handshake(address: string, options: ConnectionOptions): Promise<string> {
  const [host, port] = [address.slice(0, address.lastIndexOf(':')), Number(address.slice(address.lastIndexOf(':') + 1))]
  return new Promise((resolve) => {
    const socket = connect({ host, port, rejectUnauthorized: false, ...options }, () => {
      resolve(`${socket.getProtocol()} ${socket.getPeerX509Certificate()?.fingerprint256 ?? ''}`)
      socket.destroy()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
}

test(
  'the mesh speaks TLS 1.3 and nothing older; new certificates come into force while links live on',
  PATIENT,
  async () => {
    await issue('certs', 'a', 'b')
    const a = await start('a', '', ...tlsSettings('certs', 'a'))
    const b = await start('b', a.address, ...tlsSettings('certs', 'b'))
    await a.program.until('heard b')
    const { mesh = '' } = addressesOf(b.program)
    expect(await handshake(mesh, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })).toMatch(/^(ERR_SSL|ECONNRESET)/)
    const read = (file: string): Buffer => readFileSync(join(cli.dir, file))
    const asA = () =>
      handshake(mesh, { ca: read('certs/ca.pem'), cert: read('certs/a.pem'), key: read('certs/a-key.pem') })
    const before = await asA()
    expect(before).toMatch(/^TLSv1\.3 [0-9A-F:]+$/)

    expect((await cli.run(['cert', 'issue', 'b', '--ca', 'certs', '--out', 'fresh'])).code).toBe(0)
    for (const file of ['b.pem', 'b-key.pem']) renameSync(join(cli.dir, 'fresh', file), join(cli.dir, 'certs', file))
    b.program.signal('SIGHUP')
    await eventually(async () => {
      expect(await asA()).toMatch(/^TLSv1\.3 [0-9A-F:]+$/)
      expect(await asA()).not.toBe(before)
    })
    for (const node of [a, b]) expect([...told(node, 'mesh_down'), ...told(node, 'node_failed')]).toEqual([])
  },
)

test(
  'nodes of different security levels refuse each other, and both logs name the other and the reason, once',
  PATIENT,
  async () => {
    await issue('certs', 'a')
    const a = await start('a', '', ...tlsSettings('certs', 'a'))
    const b = await start('b', a.address)
    const ofA = () => [...told(a, 'mesh_refused'), ...told(a, 'mesh_dial_failed')].filter(({ peer }) => peer === 'b')
    const ofB = () => [...told(b, 'mesh_refused'), ...told(b, 'mesh_dial_failed')].filter(({ peer }) => peer === 'a')
    await eventually(() => ofA().length > 0 && ofB().length > 0, { timeoutMs: 60_000 })
    // They try on, and say no more.
    await new Promise((next) => setTimeout(next, 3000))
    for (const lines of [ofA(), ofB()]) {
      expect(lines).toHaveLength(1)
      expect(lines[0]?.['reason']).toMatch(/certificates/)
    }
    for (const { program } of [a, b]) expect(program.stderr).not.toContain('heard')
  },
)

test('nodes of another cluster are passed over, which both logs say once', PATIENT, async () => {
  const a = await start('a', '', 'cluster.id=one')
  const b = await start('b', a.address, 'cluster.id=two')
  await eventually(() => told(a, 'foreign_cluster_id').length > 0 && told(b, 'foreign_cluster_id').length > 0)
  await new Promise((next) => setTimeout(next, 2000))
  for (const node of [a, b]) expect(told(node, 'foreign_cluster_id')).toHaveLength(1)
  const { stdout } = await cli.run(['cluster', 'members', '--node', 'a', '--json'])
  expect((JSON.parse(stdout) as { name: string }[]).map(({ name }) => name)).toEqual(['a'])
  for (const { program } of [a, b]) expect(program.stderr).not.toContain('heard')
})

test('the key of a running cluster is changed, node by node', PATIENT, async () => {
  const old = 'MDEyMzQ1Njc4OWFiY2RlZg=='
  const fresh = (await cli.run(['keygen'])).stdout.trim()
  const keyOf = (name: string): string => `cluster.membership.secret_file=${name}.key`
  const write = (text: string): void => cli.write({ 'a.key': text, 'b.key': text })
  const reloads = ({ program }: { program: Program }): number =>
    logRecords(program.stderr).filter((record) => record['event'] === 'secrets_reloaded').length
  write(`${old}\n`)
  const a = await start('a', '', keyOf('a'))
  const b = await start('b', a.address, keyOf('b'))
  await a.program.until('heard b')
  for (const [round, text] of [`${old}\n${fresh}\n`, `${fresh}\n${old}\n`, `${fresh}\n`].entries()) {
    write(text)
    if (round === 0) for (const { program } of [a, b]) program.signal('SIGHUP')
    await eventually(() => reloads(a) > round && reloads(b) > round, { timeoutMs: 20_000 })
  }
  cli.write({ 'c.key': `${fresh}\n`, 'd.key': `${old}\n` })
  const c = await start('c', a.address, keyOf('c'))
  await a.program.until('heard c')
  await c.program.until('heard b')
  const d = await start('d', a.address, keyOf('d'))
  await d.program.until('gossip_decrypt_failed')
  expect(a.program.stderr).not.toMatch(/node_left|node_failed|heard d/)
  write('no key at all\n')
  await a.program.until('secrets_refused')
  expect(a.program.stderr).toContain('a.key: line 1')
})
