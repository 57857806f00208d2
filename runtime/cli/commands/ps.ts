// `runtime ps`: the processes of a running node.

import type { Command } from 'commander'
import type { ProcessRow } from '../../admin/shapes.ts'
import { ask, findNode, type NodeChoice } from '../client.ts'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, formatAge, Output } from '../output.ts'
import { addRepeat, type RepeatOptions, repeated } from '../repeat.ts'

interface PsOptions extends CommonOptions, NodeChoice, RepeatOptions {
  host?: string
}

export function addPs(command: Command, end: (exitCode: number) => void): void {
  addRepeat(command)
    .description('list the processes of a running node')
    .option('--host <id>', 'only the processes of this host')
    .option('--socket <path>', 'the admin socket of the node')
    .option('--node <name>', 'the node of this name under .runtime/')
    .addHelpText('after', '\nWithout --socket and --node, the only node that runs under .runtime/ is asked.')
    .action(async (options: PsOptions) => {
      const output = Output.standard(options)
      end(await repeated(options, output, () => ps(options, output)))
    })
}

async function ps(options: PsOptions, output: Output): Promise<number> {
  const socket = await findNode(options)
  const query = options.host === undefined ? '' : `?host=${encodeURIComponent(options.host)}`
  const rows = await ask<ProcessRow[]>(socket, `/v1/processes${query}`)
  if (output.isJson) {
    output.json(rows)
    return EXIT_OK
  }
  output.table(rows, [
    { title: 'PID', text: (row) => row.pid },
    { title: 'ENTRY', text: (row) => row.entry },
    { title: 'STATE', text: (row) => row.state },
    { title: 'MAILBOX', text: (row) => String(row.mailbox), align: 'right' },
    { title: 'REDUCTIONS', text: (row) => String(row.reductions), align: 'right' },
    { title: 'MEMORY', text: (row) => (row.memory === null ? '-' : String(row.memory)), align: 'right' },
    { title: 'AGE', text: (row) => formatAge(row.age_ms), align: 'right' },
    { title: 'NAMES', text: (row) => row.names.join(', ') },
  ])
  return EXIT_OK
}
