// `runtime run APP`: a node in the foreground, until a signal; with --exec, until its program has ended.

import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { ClusterSettings } from '../../../cluster/config.ts'
import { parseAddress } from '../../admin/address.ts'
import type { App, LoadResult } from '../../app/load.ts'
import { toText } from '../../base/bytes.ts'
import { messageOf } from '../../base/errors.ts'
import { toPlain } from '../../base/plain.ts'
import type { Log } from '../../log.ts'
import type { Node, StartReport } from '../../node.ts'
import type { Outcome } from '../../services.ts'
import { type AppOptions, loadAppAt, repeated, requireApp } from '../app.ts'
import { CommandFailure, EXIT_FAILED, EXIT_OK, EXIT_USAGE, exitCodeOf, terminalEnd } from '../exit.ts'
import { type CommonOptions, Output, plural } from '../output.ts'
import { Reloader } from '../reload.ts'
import { Signals } from '../signals.ts'
import { NODES_MAX, runNodes } from './nodes.ts'

interface RunOptions extends CommonOptions, AppOptions {
  exec?: string
  nodes?: string
  watch?: boolean
  logLevel?: string
  logFormat?: string
}

/** What comes after `--exec ENTRY` belongs to the program, whatever it looks like. */
interface SplitArguments {
  own: string[]
  program: string[]
}

interface RunContext {
  /** Of the program that --exec names. */
  args: readonly string[]
  stdoutGone: Promise<void>
}

export function addRun(command: Command, context: RunContext, end: (exitCode: number) => void): void {
  command
    .description('start a node with an app, and run until SIGINT or SIGTERM')
    .usage('[options] <app> [--exec <entry> [args...]]')
    .argument('<app>', 'the app file, or a directory with _index.yaml files')
    .option(
      '--exec <entry>',
      'run this process entry on the terminal, and exit by its result; comes last: what follows are its arguments',
    )
    .option('--nodes <count>', 'a cluster for development: so many nodes of this app on this machine')
    .option('--watch', 'edits of the app come into force while the node runs')
    .option('--config <file>', 'a further file of settings; may be repeated', repeated)
    .option('--set <path=value>', 'one setting, e.g. node.name=node-2; may be repeated', repeated)
    .addOption(new Option('--log-level <level>', 'the least level to write').choices(LEVELS))
    .addOption(new Option('--log-format <format>', 'auto: pretty on a terminal').choices(FORMATS))
    .addHelpText('after', HELP)
    .action(async (path: string, options: RunOptions) => end(await run(path, options, context)))
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error']
const FORMATS = ['auto', 'pretty', 'json']

/** How long processes that a program left behind have to end by themselves. */
const LEFTOVERS_MS = 500
const FORCED_STOP_MS_MAX = 1_000

const HELP = `
The first SIGINT (Ctrl-C) or SIGTERM stops everything in order; a second one stops at once. SIGHUP makes a node of a cluster read its keys
and certificates anew, and on the leader also the settings that all servers of the group share.

Exit codes: 0 after SIGTERM, 130 after SIGINT, 1 when the app failed to start, 2 when it or the command line is wrong.
With --exec the program's result decides: a failure is 1 with its message on stderr, a string is printed, a number is the code itself,
true is 0 and false 1.

Examples:
  runtime run app.yaml
  runtime run app.yaml --set node.name=node-2 --set admin.http=off
  runtime run app.yaml --nodes 3
  runtime run app.yaml --exec app:greet Ada --loud`

/** Cuts a command line behind `--exec ENTRY`. Only `run` takes it. */
export function splitExec(argv: readonly string[]): SplitArguments {
  const at = argv[0] === 'run' ? argv.findIndex((arg) => arg === '--exec' || arg.startsWith('--exec=')) : -1
  if (at < 0) return { own: [...argv], program: [] }
  const cut = argv[at] === '--exec' ? at + 2 : at + 1
  return { own: argv.slice(0, cut), program: argv.slice(cut) }
}

async function run(path: string, options: RunOptions, context: RunContext): Promise<number> {
  if (options.nodes !== undefined) return runSeveral(path, options, options.nodes)
  const output = Output.standard(options)
  const set = [...(options.set ?? [])]
  if (options.logLevel !== undefined) set.push(`logger.level=${options.logLevel}`)
  if (options.logFormat !== undefined) set.push(`logger.format=${options.logFormat}`)
  if (options.watch === true && options.exec !== undefined)
    throw new CommandFailure(EXIT_USAGE, '--watch and --exec do not go together')
  const app = await requireApp(path, { ...options, set })
  const program = options.exec === undefined ? undefined : programIn(app, options.exec)
  const [{ Node }, { createLog }] = await Promise.all([import('../../node.ts'), import('../../log.ts')])
  requireAddress(app.settings.admin.http)
  const { level, format, recentLinesMax } = app.settings.logger
  const log = createLog({ level, format, recentLinesMax, ...(options.color ? {} : { color: false }) })
  let askForExit: (exitCode: number) => void = () => {}
  const exitAsked = new Promise<number>((resolve) => {
    askForExit = resolve
  })
  const node = new Node({ app, log, withAdmin: true, onExit: (code) => askForExit(exitCodeOf(code)) })
  const reread = (): Promise<LoadResult> => loadAppAt(path, { ...options, set })
  const isLogForMachines = format === 'json'
  const watched = options.watch === true ? (options.config ?? []) : undefined
  const session = new Session({ ...context, node, exitAsked, log, output, isLogForMachines, reread, watched })
  try {
    return await (program === undefined ? session.serve() : session.execute(program))
  } finally {
    await log.close()
  }
}

async function runSeveral(path: string, options: RunOptions, nodes: string): Promise<number> {
  if (options.exec !== undefined) throw new CommandFailure(EXIT_USAGE, '--nodes and --exec do not go together')
  const count = /^\d{1,3}$/.test(nodes) ? Number(nodes) : 0
  if (count < 1 || count > NODES_MAX)
    throw new CommandFailure(EXIT_USAGE, `--nodes takes a number from 1 to ${NODES_MAX}`)
  // What is wrong with the app is said once, and not by every node.
  const app = await requireApp(path, options)
  const { format: wanted } = app.settings.logger
  const asked = options.logFormat ?? wanted
  const format = asked === 'auto' ? (process.stderr.isTTY ? 'pretty' : 'json') : asked === 'pretty' ? 'pretty' : 'json'
  const color = options.color && (process.env['NO_COLOR'] ?? '') === '' && process.stderr.isTTY
  const args = ['run', path, '--json', '--log-format', format]
  if (!color) args.push('--no-color')
  if (options.logLevel !== undefined) args.push('--log-level', options.logLevel)
  if (options.watch === true) args.push('--watch')
  for (const file of options.config ?? []) args.push('--config', file)
  for (const setting of options.set ?? []) args.push('--set', setting)
  // The command's own loader made them.
  const membership = (app.settings.cluster as ClusterSettings | undefined)?.membership
  const hasKey = membership !== undefined && (membership.keyFile !== undefined || membership.keys.length > 0)
  return runNodes({ count, args, hasKey, format, color, json: options.json === true })
}

/** @throws CommandFailure when `admin.http` cannot be right on any machine */
function requireAddress(http: string): void {
  try {
    if (http !== 'off') parseAddress(http)
  } catch (error) {
    throw new CommandFailure(EXIT_USAGE, messageOf(error))
  }
}

/** @throws CommandFailure when the app has no such process */
function programIn(app: App, id: string): string {
  const processes = app.entries.filter((entry) => entry.kind === 'process.lua')
  if (processes.some((entry) => entry.id === id)) return id
  const other = app.entries.find((entry) => entry.id === id)
  const reason =
    other === undefined ? 'the app has no such entry' : `it is a ${other.kind}, and only process.lua runs on a terminal`
  const ids = processes.map((entry) => entry.id).join(', ')
  throw new CommandFailure(
    EXIT_USAGE,
    `--exec ${id}: ${reason}${ids === '' ? '' : `\nthe app's processes are: ${ids}`}`,
  )
}

interface SessionOptions extends RunContext {
  node: Node
  log: Log
  output: Output
  /** A script has asked for the end, with this exit code. */
  exitAsked: Promise<number>
  /** The app as its files are now. */
  reread: () => Promise<LoadResult>
  /** Somebody asked for JSON: then the ready line is a record in the log only. */
  isLogForMachines: boolean
  /** Files of settings beside the app, when edits are to come into force. */
  watched: readonly string[] | undefined
}

/** Why the wait is over: the program has ended, or something asked for the end. */
type Ending = { outcome: Outcome } | { exitCode: number; force: boolean; isAsked?: true }

/** One node from its start to its end. */
class Session {
  readonly #options: SessionOptions
  readonly #signals = new Signals()
  #reloader: Reloader | undefined

  constructor(options: SessionOptions) {
    this.#options = options
  }

  /** Until something asks for the end. */
  serve(): Promise<number> {
    return this.#during({ isProgram: false }, async () => {
      const report = await this.#options.node.start()
      await this.#watch()
      this.#tellReady(report)
      return new Promise<never>(() => {})
    })
  }

  async #watch(): Promise<void> {
    const { node, watched, reread } = this.#options
    if (watched === undefined) return
    this.#reloader = new Reloader({
      app: node.app,
      configFiles: watched.map((file) => resolve(file)),
      load: reread,
      apply: (before, after) => node.reloadEntries(before, after),
      tell: (text, record) => this.#tellOf('info', text, record),
      complain: (text, record) => this.#tellOf('warn', text, record),
    })
    await this.#reloader.start()
  }

  /** What became of an edit; where programs read the log it stands there. */
  #tellOf(level: 'info' | 'warn', text: string, record: Record<string, unknown>): void {
    const { node, log, output, isLogForMachines } = this.#options
    if (log.format === 'json') log.write(level, { ...record, node: node.name }, text)
    if (isLogForMachines) return
    if (output.isJson) output.jsonLine({ ...record, node: node.name, text })
    else if (level === 'info') output.line(output.green(text))
    else output.error(text)
  }

  /** Until the program has ended, or something asks for the end. */
  execute(entryId: string): Promise<number> {
    const { node, log, args, stdoutGone } = this.#options
    const terminal = node.entries().find((entry) => entry.kind === 'terminal.host')
    if (terminal?.hidesLogs === true) log.setQuiet(true)
    return this.#during({ isProgram: true }, async () => {
      await node.start()
      // A program whose output nobody reads has done its part (`| head`).
      const unread = stdoutGone.then((): Ending => ({ exitCode: EXIT_OK, force: true }))
      return Promise.race([node.runOnTerminal(entryId, args).then((outcome) => ({ outcome })), unread])
    })
  }

  /** Does `work` until it is done or a signal comes, and stops the node. Resolves to the exit code. */
  async #during({ isProgram }: { isProgram: boolean }, work: () => Promise<Ending>): Promise<number> {
    const { node, log } = this.#options
    const signaled = this.#signals.first.then(({ signal, exitCode }): Ending => {
      log.write('info', { signal }, `${signal}: stopping; once more stops at once`)
      return { exitCode, force: false }
    })
    // Started by another program, which has gone: nobody could stop this one any more.
    process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
    process.channel?.unref()
    // A node without a cluster has nothing to read anew, and ends as every program does when its terminal goes.
    const hangUp = (): void => void this.#reload()
    if (node.app.settings.cluster?.enabled === true) process.on('SIGHUP', hangUp)
    const asked = this.#options.exitAsked.then((exitCode): Ending => ({ exitCode, force: false, isAsked: true }))
    const working = work()
    // When the wait ends early, the work fails later: its node is gone.
    working.catch(() => {})
    const forced = this.#signals.second.then(() => this.#stopAtOnce())
    let force = false
    let exitCode = EXIT_FAILED
    let hurry: NodeJS.Timeout | undefined
    try {
      const ending = await Promise.race([working, signaled, asked])
      // A program that has ended, or asked for its end, waits for nobody.
      if ('outcome' in ending || (isProgram && ending.isAsked === true))
        hurry = setTimeout(() => void node.stop({ force: true }), LEFTOVERS_MS)
      if ('outcome' in ending) {
        exitCode = this.#tellOutcome(ending.outcome)
      } else {
        ;({ force, exitCode } = ending)
      }
      return exitCode
    } finally {
      this.#reloader?.close()
      await Promise.race([node.stop({ force }), forced])
      clearTimeout(hurry)
      this.#signals.finish(exitCode)
      process.off('SIGHUP', hangUp)
    }
  }

  /** Never rejects: what is wrong with the files is logged, and what was read before stays. */
  async #reload(): Promise<void> {
    const { node, log, reread } = this.#options
    try {
      const read = await reread()
      if (!read.ok) {
        const { formatProblem } = await import('../../app/problems.ts')
        const problems = read.problems.map((problem) => formatProblem(problem)).join('; ')
        log.write('error', { event: 'reload_failed' }, `the settings were not read anew: ${problems}`)
      }
      await node.reload(read.ok ? read.app : undefined)
    } catch (error) {
      log.write('error', { event: 'reload_failed' }, `the settings were not all taken: ${messageOf(error)}`)
    }
  }

  /** What has not stopped in time ends with the program. */
  async #stopAtOnce(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FORCED_STOP_MS_MAX)
    })
    await Promise.race([this.#options.node.stop({ force: true }), late])
    clearTimeout(timer)
  }

  #tellReady({ services, tookMs, addresses }: StartReport): void {
    const { node, log, output, isLogForMachines } = this.#options
    const { name } = node
    const took = Math.round(tookMs)
    const what = `node ${name} is ready`
    if (log.format === 'json') {
      log.write('info', { event: 'ready', node: name, addresses, services, took_ms: took }, what)
    }
    if (isLogForMachines) return
    if (output.isJson) {
      output.jsonLine({ event: 'ready', node: name, addresses, services, took_ms: took })
      return
    }
    const gossip =
      addresses.gossip === undefined
        ? ''
        : ` · gossip ${addresses.gossip}${node.cluster?.isLocalOnly === true ? ' (only this machine can join)' : ''}`
    const mesh = addresses.mesh === undefined ? '' : ` · mesh ${addresses.mesh}`
    const admin = addresses.admin === undefined ? '' : ` · admin http://${addresses.admin}`
    output.line(`${what}${gossip}${mesh}${admin} · ${plural(services.length, 'service')} · ${took} ms`)
  }

  #tellOutcome(outcome: Outcome): number {
    const { output } = this.#options
    const { exitCode, stdout, stderr } = terminalEnd(outcome)
    if (output.isJson) tellJson(output, outcome)
    else if (stdout !== undefined) output.bytes(stdout)
    if (stderr !== undefined) output.error(`error: ${stderr}`)
    return exitCode
  }
}

function tellJson(output: Output, outcome: Outcome): void {
  const shown = outcomeJson(outcome)
  try {
    output.jsonLine(shown)
  } catch {
    output.jsonLine({ ok: true, value: null })
    output.error(
      'the result has no form in JSON, since it contains itself or is nested too deep; the value is left out',
    )
  }
}

function outcomeJson(outcome: Outcome): unknown {
  if (outcome.ok) return { ok: true, value: toPlain(outcome.value) ?? null }
  const { kind, message } = outcome.error
  return { ok: false, error: { kind: toText(kind), message: toText(message) } }
}
