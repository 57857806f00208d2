// `runtime attach`: a Lua prompt inside a running node, through its admin socket; or a chunk from a pipe or the command line.

import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { findNode, type NodeChoice } from '../client.ts'
import { ConsoleClient } from '../console.ts'
import { EXIT_FAILED, EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'
import { historyFile, Prompt, printableText } from '../prompt.ts'
import { Signals } from '../signals.ts'

interface AttachOptions extends CommonOptions, NodeChoice {
  eval?: string
}

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
    const streams = { input: process.stdin, output: process.stdout }
    return await new Prompt({ client, output, streams, historyFile: historyFile() }).run()
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
