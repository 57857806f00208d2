// `runtime attach`: a Lua prompt inside a running node, through its admin socket; or a chunk from a pipe or the command line.

import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import type { ConsoleNews } from '../../consoles.ts'
import { findNode, type NodeChoice } from '../client.ts'
import { ConsoleClient } from '../console.ts'
import { EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output, printable } from '../output.ts'
import { Signals } from '../signals.ts'

interface AttachOptions extends CommonOptions, NodeChoice {
  eval?: string
}

const HISTORY_LINES_MAX = 1000

export function addAttach(command: Command, end: (exitCode: number) => void): void {
  command
    .description('a Lua prompt inside a running node')
    .option('-e, --eval <lua>', 'run this and exit')
    .option('--socket <path>', 'the admin socket of the node')
    .option('--node <name>', 'the node of this name under .runtime/')
    .addHelpText('after', HELP)
    .action(async (options: AttachOptions) => end(await attach(options)))
}

const HELP = `
What is typed runs in a process of its own, with every module as a global: system.hosts.list(), registry.get("ns:name"), process.send("name", "topic").
Globals stay from line to line, locals do not. Ctrl-C ends what runs, exit or Ctrl-D the prompt. When standard input is no terminal, all of it
is one chunk.

Examples:
  runtime attach
  runtime attach -e 'system.node.id()'
  echo 'return 1 + 1' | runtime attach

Without --socket and --node, the only node that runs under .runtime/ is asked.`

async function attach(options: AttachOptions): Promise<number> {
  const output = Output.standard(options)
  const client = await ConsoleClient.open(await findNode(options))
  try {
    if (options.eval !== undefined) return await runOnce(client, options.eval, output)
    if (!process.stdin.isTTY) return await runOnce(client, await text(process.stdin), output)
    return await new Prompt(client, output).run()
  } finally {
    client.close()
  }
}

/** One chunk, and the exit code by its end. */
function runOnce(client: ConsoleClient, source: string, output: Output): Promise<number> {
  const signals = new Signals()
  return new Promise<number>((resolve) => {
    const prints: string[] = []
    let isSent = false
    const end = (exitCode: number, result: unknown): void => {
      signals.close()
      if (output.isJson) output.json(result)
      resolve(exitCode)
    }
    const fail = (message: string, traceback = ''): void => {
      output.error(`error: ${printableText(message)}`)
      if (traceback !== '') output.error(printableText(traceback).trimEnd())
      end(EXIT_FAILED, { ok: false, error: { message }, printed: prints })
    }
    void signals.first.then(({ exitCode }) =>
      end(exitCode, { ok: false, error: { message: 'interrupted' }, printed: prints }),
    )
    client.onNews((news) => {
      switch (news.kind) {
        case 'ready':
          if (isSent) return fail(`the process that ran it ended: ${news.lost ?? 'for no known reason'}`)
          isSent = true
          return client.send({ run: source })
        case 'print':
          if (output.isJson) prints.push(news.text)
          else output.line(printableText(news.text))
          return
        case 'done':
          if (!output.isJson) for (const value of news.values) output.line(printableText(value))
          return end(EXIT_OK, { ok: true, values: news.values, printed: prints })
        case 'error':
          return fail(news.message, news.traceback)
        case 'syntax':
          return fail(news.message)
        case 'over':
          return fail(news.why)
        default:
          return
      }
    })
    void client.closed.then(() => fail('the node has closed the connection'))
  })
}

/** Line breaks and tabs stay; what else could steer the terminal goes. */
const printableText = (given: string): string =>
  given
    .split('\n')
    .map((row) => row.split('\t').map(printable).join('\t'))
    .join('\n')

class Prompt {
  readonly #client: ConsoleClient
  readonly #output: Output
  #lines: Interface | undefined
  /** Lines so far of what is not whole yet. */
  #input: string[] = []
  #isRunning = true
  #exitCode = EXIT_OK
  #candidatesWanted: ((names: readonly string[]) => void) | undefined
  #done: () => void = () => {}

  constructor(client: ConsoleClient, output: Output) {
    this.#client = client
    this.#output = output
  }

  async run(): Promise<number> {
    const file = historyFile()
    const history = await readHistory(file)
    const lines = createInterface({
      input: process.stdin,
      output: process.stdout,
      terminal: true,
      history,
      historySize: HISTORY_LINES_MAX,
      removeHistoryDuplicates: true,
      completer: (line: string, done: (error: null, result: [string[], string]) => void) =>
        this.#complete(line).then((result) => done(null, result)),
    })
    this.#lines = lines
    lines.on('history', (kept: string[]) => history.splice(0, history.length, ...kept))
    lines.on('line', (line) => this.#line(line))
    lines.on('SIGINT', () => this.#interrupt())
    const over = new Promise<void>((resolve) => {
      this.#done = resolve
    })
    lines.once('close', this.#done)
    this.#client.onNews((news) => this.#news(news))
    void this.#client.closed.then(() => {
      if (this.#lines === undefined) return
      this.#say('the node has closed the connection')
      this.#exitCode = EXIT_FAILED
      this.#done()
    })
    await over
    this.#lines = undefined
    lines.close()
    await writeHistory(file, history)
    return this.#exitCode
  }

  #ask(): void {
    this.#isRunning = false
    this.#lines?.setPrompt(this.#input.length === 0 ? '> ' : '>> ')
    this.#lines?.prompt()
  }

  #line(line: string): void {
    if (this.#isRunning) return
    if (this.#input.length === 0 && /^\s*(exit|quit)\s*(\(\s*\))?\s*$/.test(line)) return this.#done()
    if (this.#input.length === 0 && line.trim() === '') return this.#ask()
    this.#input.push(line)
    this.#isRunning = true
    this.#client.send({ run: this.#input.join('\n') })
  }

  #interrupt(): void {
    if (this.#isRunning) return this.#client.send({ interrupt: true })
    process.stdout.write('\n')
    if (this.#input.length === 0 && this.#lines?.line === '') {
      this.#exitCode = EXIT_INTERRUPTED
      return this.#done()
    }
    this.#input = []
    this.#lines?.write(null, { ctrl: true, name: 'u' })
    this.#ask()
  }

  async #complete(line: string): Promise<[string[], string]> {
    const [word = ''] = /[A-Za-z_][\w.:]*$/.exec(line) ?? []
    if (this.#isRunning || word === '') return [[], word]
    this.#isRunning = true
    const names = await new Promise<readonly string[]>((resolve) => {
      this.#candidatesWanted = resolve
      this.#client.send({ complete: line })
    })
    this.#isRunning = false
    return [[...names], word]
  }

  #news(news: ConsoleNews): void {
    switch (news.kind) {
      case 'ready':
        this.#candidatesWanted?.([])
        this.#input = []
        if (news.lost === undefined) this.#say(this.#output.dim(`${news.pid}: exit or Ctrl-D leaves`))
        else this.#say(this.#output.red(`${news.lost}; what was set is gone`))
        return this.#ask()
      case 'print':
        return this.#say(printableText(news.text))
      case 'done':
        for (const value of news.values) this.#say(printableText(value))
        return this.#next()
      case 'error':
        this.#say(this.#output.red(printableText(news.message)))
        if (news.traceback !== '') this.#say(this.#output.dim(printableText(news.traceback).trimEnd()))
        return this.#next()
      case 'syntax':
        if (news.isIncomplete) return this.#ask()
        this.#say(this.#output.red(printableText(news.message)))
        return this.#next()
      case 'candidates':
        return this.#candidatesWanted?.(news.names)
      case 'over':
        this.#say(news.why)
        this.#exitCode = EXIT_FAILED
        return this.#done()
    }
  }

  #next(): void {
    this.#input = []
    this.#ask()
  }

  #say(line: string): void {
    process.stdout.write(`${line}\n`)
  }
}

function historyFile(): string {
  const state = process.env['XDG_STATE_HOME']
  return join(
    state === undefined || state === '' ? join(homedir(), '.local', 'state') : state,
    'moonmesh',
    'attach_history',
  )
}

/** Newest first, as the line editor wants it. */
async function readHistory(file: string): Promise<string[]> {
  const lines = await readFile(file, 'utf8').catch(() => '')
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .reverse()
    .slice(0, HISTORY_LINES_MAX)
}

/** Others must not read what was typed. Where it cannot be kept, it is not. */
async function writeHistory(file: string, history: readonly string[]): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    await writeFile(file, `${[...history].reverse().join('\n')}\n`, { mode: 0o600 })
  } catch {
    // A history is a convenience.
  }
}
