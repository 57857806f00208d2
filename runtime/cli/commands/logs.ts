// `runtime logs`: the last lines of a running node's log, and with --follow those to come.

import { type Command, InvalidArgumentError, Option } from 'commander'
import { LOG_LEVELS, prettyLine } from '../../log.ts'
import { ask, findNode, follow, type NodeChoice } from '../client.ts'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'
import { Signals } from '../signals.ts'

interface LogsOptions extends CommonOptions, NodeChoice {
  follow?: boolean
  lines: number
  level?: string
  entry?: string
  pid?: string
}

const LINES_DEFAULT = 100

export function addLogs(command: Command, stdoutGone: Promise<void>, end: (exitCode: number) => void): void {
  command
    .description("the last lines of a running node's log")
    .option('-f, --follow', 'and those to come, until Ctrl-C')
    .option('-n, --lines <count>', 'how many at most', lineCount, LINES_DEFAULT)
    .addOption(new Option('--level <level>', 'only lines of this level and above').choices(LOG_LEVELS))
    .option('--entry <id>', 'only lines of this entry')
    .option('--pid <pid>', 'only lines of this process, as a PID or as #1f')
    .option('--socket <path>', 'the admin socket of the node')
    .option('--node <name>', 'the node of this name under .runtime/')
    .addHelpText(
      'after',
      '\nThe node keeps logger.recent_lines lines. Without --socket and --node, the only node that runs under .runtime/ is asked.',
    )
    .action(async (options: LogsOptions) => end(await logs(options, stdoutGone)))
}

async function logs(options: LogsOptions, stdoutGone: Promise<void>): Promise<number> {
  const output = Output.standard(options)
  const socket = await findNode(options)
  const path = `/v1/logs?${queryOf(options)}`
  const pretty = prettyLine(output.hasColor)
  const show = (record: unknown): void => {
    if (output.isJson) output.jsonLine(record)
    else output.text(pretty(JSON.stringify(record)))
  }
  if (options.follow === true) {
    const signals = new Signals()
    const stop = new AbortController()
    void Promise.race([signals.first, stdoutGone]).then(() => stop.abort())
    try {
      await follow(socket, path, { signal: stop.signal, line: show })
    } finally {
      signals.close()
    }
    return EXIT_OK
  }
  const records = await ask<unknown[]>(socket, path)
  if (output.isJson) output.json(records)
  else for (const record of records) show(record)
  return EXIT_OK
}

function queryOf({ follow, lines, level, entry, pid }: LogsOptions): string {
  const query = new URLSearchParams({ limit: String(lines) })
  if (follow === true) query.set('follow', 'true')
  for (const [name, value] of Object.entries({ level, entry, pid })) if (value !== undefined) query.set(name, value)
  return query.toString()
}

function lineCount(given: string): number {
  if (!/^\d{1,6}$/.test(given)) throw new InvalidArgumentError('a number of lines is needed')
  return Number(given)
}
