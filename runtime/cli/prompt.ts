// The prompt of `runtime attach`: lines that are edited, completed and remembered, sent to a console of the node, and what it says of them.

import { readFile, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { ConsoleNews } from '../consoles.ts'
import { makeDirectory } from '../make-directory.ts'
import type { ConsoleClient } from './console.ts'
import { EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK } from './exit.ts'
import { type Output, printable } from './output.ts'

const HISTORY_LINES_MAX = 1000

/** Line breaks and tabs stay; what else could steer the terminal goes. */
export const printableText = (given: string): string =>
  given
    .split('\n')
    .map((row) => row.split('\t').map(printable).join('\t'))
    .join('\n')

/** The node's end of what is typed. */
type PromptClient = Pick<ConsoleClient, 'send' | 'onNews' | 'closed'>

interface PromptOptions {
  readonly client: PromptClient
  readonly output: Output
  /** A terminal. */
  readonly streams: { readonly input: Readable; readonly output: Writable }
  readonly historyFile: string
}

export class Prompt {
  readonly #client: PromptClient
  readonly #output: Output
  readonly #streams: PromptOptions['streams']
  readonly #historyFile: string
  #lines: Interface | undefined
  /** Lines so far of what is not whole yet. */
  #input: string[] = []
  #isRunning = true
  #exitCode = EXIT_OK
  #candidatesWanted: ((names: readonly string[]) => void) | undefined
  #done: () => void = () => {}

  constructor({ client, output, streams, historyFile }: PromptOptions) {
    this.#client = client
    this.#output = output
    this.#streams = streams
    this.#historyFile = historyFile
  }

  /** Until the person leaves, or the node does. @returns the exit code */
  async run(): Promise<number> {
    const file = this.#historyFile
    const history = await readHistory(file)
    const lines = createInterface({
      ...this.#streams,
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
    this.#streams.output.write('\n')
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
    this.#streams.output.write(`${line}\n`)
  }
}

/** Where what was typed is kept, as the XDG rules say. */
export function historyFile(): string {
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
    await makeDirectory(dirname(file), 0o700)
    await writeFile(file, `${[...history].reverse().join('\n')}\n`, { mode: 0o600 })
  } catch {
    // A history is a convenience.
  }
}
