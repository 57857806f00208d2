// Runs Lua on inline hosts behind a real relay, with fake time: what a script sees, without threads and without waiting.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { expressionTester } from '../../lua-stdlib/expr/condition.ts'
import { libraryModules } from '../../lua-stdlib/index.ts'
import { CodeHashes } from '../../runtime/app/code-hash.ts'
import { toBytes, toText } from '../../runtime/base/bytes.ts'
import { fromPlain, type Plain, toPlain } from '../../runtime/base/plain.ts'
import { ErrorValue } from '../../runtime/base/value.ts'
import type { CodeEntry } from '../../runtime/lua/sandbox.ts'
import { VmEngine } from '../../runtime/lua/vm/engine.ts'
import { NameWatches } from '../../runtime/name-watches.ts'
import { NamesService } from '../../runtime/names-service.ts'
import { NodeServices } from '../../runtime/node-services.ts'
import { LuaHost } from '../../runtime/process/lua-host.ts'
import { BASE_REQUEST, type FromHost, inlinePorts, type SpawnRequest, type ToHost } from '../../runtime/process/port.ts'
import { type HostLine, Relay } from '../../runtime/relay/relay.ts'
import type { Undeliverable } from '../../runtime/relay/wire/messages.ts'
import type { LibraryModule, Outcome } from '../../runtime/services.ts'
import { FakeDriver } from './fake-driver.ts'

/** A Lua entry in short form: `source` returns a table with the method, or a function. */
export interface TestEntry {
  source: string
  kind?: string
  method?: string
  modules?: readonly string[]
  imports?: Readonly<Record<string, string>>
}

interface LogLine {
  level: string
  text: string
  pid: string
  where: string
}

const OUTSIDE_MS_MAX = 8000
const EPOCH = 1_767_323_045_000

interface TestNodeOptions {
  driver?: FakeDriver
  name?: string
  epoch?: number
  /** As `cluster.strict_code`. */
  isStrict?: boolean
  /** Monitors and links with one other node. */
  peerPairsMax?: number
  /** Who has a name in a scope that is larger than the node. */
  sharedHolder?: (name: string) => string | undefined
}

/** A node in miniature: hosts `app:a` and `app:b` (inline), a terminal host `app:term`, the given entries. */
export class TestNode {
  readonly driver: FakeDriver
  readonly logs: LogLine[] = []
  readonly stdout: string[] = []
  readonly stderr: string[] = []
  readonly relay: Relay
  /** What the node answers to scripts; tests add what they need. */
  readonly services = new NodeServices()
  readonly hosts = new Map<string, LuaHost>()
  readonly lines = new Map<string, HostLine>()
  readonly stoppedHosts: string[] = []
  input: (string | undefined)[] = []
  /** What raw mode was set to, and why it cannot be. */
  /** What was sent to names and did not find its process. */
  readonly undeliverable: Undeliverable[] = []
  readonly rawModes: boolean[] = []
  rawError: ErrorValue | undefined
  readonly nameWatches = new NameWatches({
    resolve: (name) => {
      const pid = this.relay.lookup(name)
      return pid === undefined
        ? undefined
        : { pid, scope: pid === this.relay.lookupLocal(name) ? 'local' : 'consistent' }
    },
    names: (prefix) => [...this.relay.localNames()].flatMap(([name]) => (name.startsWith(prefix) ? [name] : [])).sort(),
  })
  readonly #entries: readonly CodeEntry[]

  readonly #libraries: readonly LibraryModule[]

  /** In a cluster: what it is called there, and which run of it this is. */
  readonly name: string | undefined
  readonly epoch: number

  /** @param libraries beside those that there are */
  constructor(
    entries: Readonly<Record<string, string | TestEntry>> = {},
    libraries: readonly LibraryModule[] = [],
    {
      driver = new FakeDriver(),
      name,
      epoch = EPOCH,
      isStrict = false,
      peerPairsMax,
      sharedHolder,
    }: TestNodeOptions = {},
  ) {
    this.driver = driver
    this.name = name
    this.epoch = epoch
    this.#libraries = [...libraryModules, ...libraries]
    this.#entries = Object.entries(entries).map(([id, entry]) => codeEntry(id, entry))
    const hashes = new CodeHashes(this.#entries)
    const hooks: ConstructorParameters<typeof Relay>[2] = {
      log: ({ level, text, pid, where }) => this.logs.push({ level, text: toText(text), pid, where }),
      terminal: (line, message) => this.#terminal(line, message),
      stopped: (line) => this.stoppedHosts.push(line.hostId),
      ready: () => {},
      request: (request, signal) => this.services.request(request, signal),
      clientEnded: (pid) => this.services.clientEnded(pid),
      clientsLost: (isLost) => this.services.clientsLost(isLost),
      undeliverable: (notice) => this.undeliverable.push(notice),
      nameTurned: (each, before) => this.nameWatches.changed(each, before),
      sharedHolder,
      codeHash: isStrict ? (id) => hashes.of(id) : undefined,
    }
    this.relay = new Relay({ node: name, epoch }, this.driver.env, hooks, peerPairsMax)
    this.services.add(
      'names',
      new NamesService({
        names: () => undefined,
        local: (prefix) => [...this.relay.localNames()].filter(([each]) => each.startsWith(prefix)),
        watch: (pattern) => this.nameWatches.watch(pattern),
        feed: (...message) => {
          this.relay.feed(...message)
          this.driver.settle()
        },
      }),
    )
    for (const id of ['app:a', 'app:b', 'app:term']) this.startHost(id)
  }

  startHost(id: string, options: { processCountMax?: number; mailboxCountMax?: number } = {}): LuaHost {
    const [nodePort, hostPort] = inlinePorts<ToHost, FromHost>((run) => this.driver.defer(run))
    const place = this.relay.takeSlot()
    const host = new LuaHost(
      {
        id,
        node: this.name,
        epoch: this.epoch,
        ...place,
        processCountMax: options.processCountMax ?? 100_000,
        mailboxCountMax: options.mailboxCountMax ?? 1_000_000,
        sharesHost: false,
        hasTerminal: id === 'app:term',
        recordsFunctions: false,
        isConsole: false,
      },
      hostPort,
      this.driver,
      new VmEngine(),
      this.#libraries,
      expressionTester(),
    )
    const line: HostLine = { hostId: id, slot: place.slot, port: nodePort }
    host.sendAway = (...message) => this.relay.sendAway(...message)
    this.relay.open(line)
    nodePort.post({ kind: 'code', entries: this.#entries, removed: [] })
    this.hosts.set(id, host)
    this.lines.set(id, line)
    this.driver.settle()
    return host
  }

  #terminal(line: HostLine, message: Parameters<ConstructorParameters<typeof Relay>[2]['terminal']>[1]): void {
    if (message.kind === 'terminal-write') {
      this[message.stream].push(message.bytes)
      line.port.post({ kind: 'terminal-written', byteCount: message.bytes.length })
    } else if (message.kind === 'terminal-read') {
      line.port.post({ kind: 'terminal-data', ref: message.ref, bytes: this.input.shift(), error: undefined })
    } else {
      this.rawModes.push(message.enable)
      line.port.post({ kind: 'terminal-data', ref: message.ref, bytes: undefined, error: this.rawError })
    }
  }

  request(entryId: string, args: readonly unknown[] = [], host = 'app:a'): SpawnRequest {
    return {
      ...BASE_REQUEST,
      host,
      entryId: toBytes(entryId),
      args: args.map((value) => fromPlain(value)),
      wantsEnd: true,
      allowsFunction: true,
    }
  }

  /** Spawns an entry and lets everything settle. @throws the spawn's error */
  spawn(
    entryId: string,
    args: readonly unknown[] = [],
    host = 'app:a',
  ): { pid: string; outcome: () => Outcome | undefined } {
    let pid: string | undefined
    let failure: unknown
    let outcome: Outcome | undefined
    this.relay.spawn(
      this.request(entryId, args, host),
      (answer) => {
        if (answer.ok) pid = answer.value
        else failure = answer.error
      },
      (ended) => {
        outcome = ended
      },
    )
    this.driver.settle()
    if (failure !== undefined) throw failure
    if (pid === undefined) throw new Error('spawn was not answered')
    return { pid, outcome: () => outcome }
  }

  /** Runs an entry to its end, moving time on in steps, and returns its result. @throws the process's error */
  run(entryId: string, args: readonly unknown[] = [], options: { host?: string; timeMs?: number } = {}): Plain {
    const { outcome } = this.spawn(entryId, args, options.host ?? 'app:a')
    for (let ms = 0; outcome() === undefined && ms < (options.timeMs ?? 60_000); ms += 100) this.driver.advance(100)
    const end = outcome()
    if (end === undefined) throw new Error('the process did not end')
    if (!end.ok) throw end.error
    return toPlain(end.value)
  }

  /** Like `run`, for code that waits for what happens outside: files, ciphers. Time stands still. */
  async runOutside(entryId: string, args: readonly unknown[] = []): Promise<Plain> {
    const { outcome } = this.spawn(entryId, args)
    const deadlineMs = performance.now() + OUTSIDE_MS_MAX
    for (;;) {
      this.driver.settle()
      const end = outcome()
      if (end?.ok === true) return toPlain(end.value)
      if (end !== undefined) throw end.error
      if (performance.now() > deadlineMs) throw new Error('the process did not end')
      await nextTurn()
    }
  }

  send(to: string, topic: string, ...values: unknown[]): void {
    const body = values.map((value) => fromPlain(value))
    this.relay.ask({ kind: 'send', to, from: '', topic, values: body }, () => {})
    this.driver.settle()
  }

  /** Kills a host as a crash of its worker would. */
  crash(id: string): void {
    const line = this.lines.get(id) as HostLine
    this.hosts.get(id)?.close()
    line.port.close()
    this.relay.lost(line, new ErrorValue('Unavailable', 'host worker crashed: test', true))
  }

  close(): void {
    for (const host of this.hosts.values()) host.close()
  }
}

function codeEntry(id: string, entry: string | TestEntry): CodeEntry {
  const { source, kind, method, modules, imports } =
    typeof entry === 'string' ? ({ source: entry } as TestEntry) : entry
  return {
    id: toBytes(id),
    kind: kind ?? 'process.lua',
    source,
    method: method ?? 'main',
    modules: modules ?? ['time', 'json', 'io'],
    imports: imports ?? {},
  }
}

/**
 * Runs a chunk body as a process: `source` is the body of `main` and receives `...`; its result comes back as plain data.
 * @throws ErrorValue when the process fails
 */
export function runLua(
  source: string,
  options: { args?: readonly unknown[]; entries?: Readonly<Record<string, string | TestEntry>> } = {},
): Plain {
  const node = new TestNode({ ...options.entries, 'test:main': `return function(...) ${source}\nend` })
  try {
    return node.run('test:main', options.args ?? [])
  } finally {
    node.close()
  }
}
