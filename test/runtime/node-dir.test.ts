import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findSocket, NodeDirectory } from '../../runtime/node-dir.ts'
import { eventually } from '../tools/eventually.ts'

let dataDir = ''
const opened: NodeDirectory[] = []

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'mm-'))
})

afterEach(async () => {
  for (const directory of opened.splice(0)) await directory.close()
  rmSync(dataDir, { recursive: true, force: true })
})

async function open(
  options: { dataDir?: string; nodeName?: string; wallMs?: () => number } = {},
): Promise<NodeDirectory> {
  const directory = await NodeDirectory.open({ dataDir, nodeName: 'n1', ...options })
  opened.push(directory)
  return directory
}

function ask(socketPath: string): Promise<string> {
  return new Promise((done, fail) => {
    let text = ''
    const socket = connect(socketPath)
    socket.on('data', (chunk) => {
      text += String(chunk)
    })
    socket.on('close', () => done(text))
    socket.on('error', fail)
  })
}

/** A socket file whose owner was killed. */
async function leaveStaleSocket(socketPath: string): Promise<void> {
  mkdirSync(dirname(socketPath), { recursive: true })
  const script = `require('net').createServer().listen(${JSON.stringify(socketPath)})`
  const owner = spawn(process.execPath, ['-e', script], { stdio: 'ignore' })
  await eventually(() => existsSync(socketPath))
  owner.kill('SIGKILL')
  await new Promise((gone) => owner.once('exit', gone))
  expect(existsSync(socketPath)).toBe(true)
}

describe('epoch (cluster.md §0.1)', () => {
  test('is the time of the start, in milliseconds', async () => {
    expect((await open({ wallMs: () => 1_700_000_000_000.7 })).epoch).toBe(1_700_000_000_000)
    expect(readFileSync(join(dataDir, 'n1', 'epoch'), 'utf8')).toBe('1700000000000\n')
  })

  test('rises with each start, also when the clock went back', async () => {
    const first = await open({ wallMs: () => 5_000 })
    await first.close()
    const second = await open({ wallMs: () => 4_000 })
    expect(second.epoch).toBe(5_001)
    await second.close()
    expect((await open({ wallMs: () => 5_001 })).epoch).toBe(5_002)
  })

  test('a half-written new epoch of a crashed start does no harm', async () => {
    await (await open({ wallMs: () => 5_000 })).close()
    writeFileSync(join(dataDir, 'n1', 'epoch.new'), '9')
    expect((await open({ wallMs: () => 1 })).epoch).toBe(5_001)
  })

  test.each(['garbage', '', '-5', '1e3', '12\n13\n', '9007199254740991', '99999999999999999999'])(
    'a file that holds %j is an error, not a guess',
    async (text) => {
      await (await open()).close()
      const file = join(dataDir, 'n1', 'epoch')
      writeFileSync(file, text)
      await expect(open()).rejects.toMatchObject({
        kind: 'Invalid',
        message: `${file} does not hold the epoch of the last run; remove it if no process of an earlier run matters`,
      })
      expect(readFileSync(file, 'utf8')).toBe(text)
      expect(existsSync(join(dataDir, 'n1', 'admin.sock'))).toBe(false)
    },
  )

  test.each(['epoch', 'epoch.new'])('a disk that fails over %s is told, and nothing starts', async (name) => {
    mkdirSync(join(dataDir, 'n1', name), { recursive: true })
    await expect(open()).rejects.toMatchObject({ kind: 'Unavailable', message: expect.stringContaining('EISDIR') })
    expect(existsSync(join(dataDir, 'n1', 'admin.sock'))).toBe(false)
  })

  test('is raised above one that others still know, for this run and those to come', async () => {
    const directory = await open({ wallMs: () => 5_000 })
    await Promise.all([directory.raiseEpoch(9_000), directory.raiseEpoch(8_000)])
    expect(directory.epoch).toBe(9_000)
    await directory.close()
    expect((await open({ wallMs: () => 6_000 })).epoch).toBe(9_001)
  })

  test('a raise that cannot be written does not count', async () => {
    const directory = await open({ wallMs: () => 5_000 })
    mkdirSync(join(dataDir, 'n1', 'epoch.new'))
    await expect(directory.raiseEpoch(9_000)).rejects.toMatchObject({ kind: 'Unavailable' })
    expect(directory.epoch).toBe(5_000)
    rmSync(join(dataDir, 'n1', 'epoch.new'), { recursive: true })
    await directory.raiseEpoch(9_001)
    expect(directory.epoch).toBe(9_001)
  })
})

describe('one node at a time', () => {
  test('a running node is named, with its process id and what to do', async () => {
    await open()
    const error = await open().then(
      () => undefined,
      (thrown: unknown) => thrown as Error,
    )
    expect(error).toMatchObject({ kind: 'AlreadyExists', details: { pid: process.pid } })
    expect(error?.message).toContain(`node n1 is already running (pid ${process.pid})`)
    expect(error?.message).toContain('--set node.name=other')
  })

  test('another name has another directory', async () => {
    await open()
    const other = await open({ nodeName: 'n2' })
    expect(other.path).toBe(join(dataDir, 'n2'))
  })

  test('the socket of a dead node is replaced', async () => {
    await leaveStaleSocket(join(dataDir, 'n1', 'admin.sock'))
    const directory = await open()
    directory.serve((socket) => socket.end('new'))
    expect(await ask(directory.socketPath)).toBe('new')
  })

  test('of several that start at once over a dead socket, one wins', async () => {
    await leaveStaleSocket(join(dataDir, 'n1', 'admin.sock'))
    const results = await Promise.allSettled([open(), open(), open(), open()])
    const winners = results.filter((result) => result.status === 'fulfilled')
    const losers = results.filter((result) => result.status === 'rejected')
    expect(winners).toHaveLength(1)
    for (const loser of losers) expect(loser.reason).toMatchObject({ kind: 'AlreadyExists' })
    expect(await ask(winners[0]!.value.socketPath)).toBe('')
  })

  test('a claim left behind by a crash is overruled', async () => {
    mkdirSync(join(dataDir, 'n1'))
    writeFileSync(join(dataDir, 'n1', 'claim'), '1\n')
    execFileSync('touch', ['-d', '2001-01-01', join(dataDir, 'n1', 'claim')])
    await open()
  })
})

describe('files', () => {
  test('the directory and the socket are for their owner alone', async () => {
    const { path, socketPath } = await open()
    expect(statSync(path).mode & 0o777).toBe(0o700)
    expect(statSync(socketPath).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(path, 'pid'), 'utf8')).toBe(`${process.pid}\n`)
  })

  test('closing removes socket and pid, ends connections, and may be repeated', async () => {
    const directory = await open()
    directory.serve(() => {})
    const hanging = ask(directory.socketPath)
    await Promise.all([directory.close(), directory.close()])
    await hanging.catch(() => undefined)
    expect(existsSync(directory.socketPath)).toBe(false)
    expect(existsSync(join(directory.path, 'pid'))).toBe(false)
    await open()
  })

  test('a path too long for a Unix socket: it is made elsewhere, and found there', async () => {
    const deep = join(dataDir, 'd'.repeat(60), 'e'.repeat(60))
    const directory = await open({ dataDir: deep })
    expect(Buffer.byteLength(directory.socketPath)).toBeLessThanOrEqual(100)
    expect(await findSocket(directory.path)).toBe(directory.socketPath)
    expect(statSync(dirname(directory.socketPath)).mode & 0o777).toBe(0o700)
    await expect(open({ dataDir: deep })).rejects.toMatchObject({ kind: 'AlreadyExists' })
    await directory.close()
    expect(existsSync(dirname(directory.socketPath))).toBe(false)
    expect(await findSocket(directory.path)).toBeUndefined()
  })

  test('a name that is no file name is refused', async () => {
    for (const nodeName of ['', '.', '..', 'a/b', '../x']) {
      await expect(open({ nodeName })).rejects.toMatchObject({ kind: 'Invalid' })
    }
  })

  test('a file in the way is an error with place and remedy', async () => {
    writeFileSync(join(dataDir, 'file'), '')
    const error = open({ dataDir: join(dataDir, 'file') })
    await expect(error).rejects.toMatchObject({
      kind: 'Invalid',
      message: expect.stringMatching(/file.*--set node\.data_dir=PATH/),
    })
  })

  test.runIf(existsSync('/proc/self'))(
    'a place that takes no directories is an error with place and remedy',
    async () => {
      const error = open({ dataDir: '/proc/none/below' })
      await expect(error).rejects.toMatchObject({
        kind: 'Invalid',
        message: expect.stringMatching(/\/proc\/none cannot be made .*--set node\.data_dir=PATH/),
      })
    },
  )

  // root may write anywhere
  test.skipIf(process.getuid?.() === 0)('no permission is an error with place and remedy', async () => {
    chmodSync(dataDir, 0o500)
    await expect(open()).rejects.toMatchObject({
      kind: 'PermissionDenied',
      message: expect.stringMatching(/no permission.*--set node\.data_dir=PATH/),
    })
    chmodSync(dataDir, 0o700)
  })
})

describe('a directory that is removed while its node runs', () => {
  const epochOf = (): string => readFileSync(join(dataDir, 'n1', 'epoch'), 'utf8')

  test('is made anew, with the epoch of the run and a socket that is found', async () => {
    const directory = await open({ wallMs: () => 5000 })
    directory.serve((socket) => socket.end('hello'))
    expect(await directory.look()).toEqual({ kind: 'same' })
    rmSync(join(dataDir, 'n1'), { recursive: true })
    expect(await directory.look()).toEqual({ kind: 'renewed' })
    expect(await directory.look()).toEqual({ kind: 'same' })
    expect(epochOf()).toBe('5000\n')
    expect(readFileSync(join(dataDir, 'n1', 'pid'), 'utf8')).toBe(`${process.pid}\n`)
    expect(await ask((await findSocket(join(dataDir, 'n1'))) as string)).toBe('hello')
    await expect(open()).rejects.toMatchObject({ kind: 'AlreadyExists' })
    await directory.close()
    expect((await open({ wallMs: () => 1 })).epoch).toBe(5001)
  })

  test.each(['epoch', 'admin.sock'])('so is its file %s alone', async (file) => {
    const directory = await open({ wallMs: () => 5000 })
    rmSync(join(dataDir, 'n1', file))
    expect(await directory.look()).toEqual({ kind: 'renewed' })
    expect(existsSync(join(dataDir, 'n1', file))).toBe(true)
    expect(epochOf()).toBe('5000\n')
  })

  test('and belongs to another node now stays that one’s', async () => {
    const directory = await open({ wallMs: () => 5000 })
    rmSync(join(dataDir, 'n1'), { recursive: true })
    const other = await open({ wallMs: () => 7000 })
    other.serve((socket) => socket.end('other'))
    expect(await directory.look()).toMatchObject({ kind: 'lost', error: { kind: 'AlreadyExists' } })
    await directory.close()
    expect(epochOf()).toBe('7000\n')
    expect(await ask(other.socketPath)).toBe('other')
    expect(await other.look()).toEqual({ kind: 'same' })
  })

  test('and cannot be made anew is said to be lost, and why', async () => {
    const directory = await open()
    rmSync(dataDir, { recursive: true })
    writeFileSync(dataDir, 'in the way')
    const state = await directory.look()
    expect(state.kind).toBe('lost')
    expect(state.kind === 'lost' && state.error.message).toContain('a file is in the way')
    rmSync(dataDir)
    expect(await directory.look()).toEqual({ kind: 'renewed' })
  })
})
