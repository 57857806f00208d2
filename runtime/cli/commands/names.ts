// `runtime names`: names of processes, as a running node resolves them.

import { type Command, Option } from 'commander'
import type { NameRow } from '../../admin/shapes.ts'
import { ask, findNode, type NodeChoice } from '../client.ts'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

const SCOPES = ['local', 'eventual', 'consistent', 'strong']

interface NamesOptions extends CommonOptions, NodeChoice {
  scope?: string
}

export function addNames(command: Command, end: (exitCode: number) => void): void {
  command
    .description('list names of processes, as a running node resolves them')
    .argument('[prefix]', 'only names that begin with this', '')
    .addOption(new Option('--scope <scope>', 'only names of this scope').choices(SCOPES))
    .option('--socket <path>', 'the admin socket of the node')
    .option('--node <name>', 'the node of this name under .runtime/')
    .addHelpText('after', '\nWithout --socket and --node, the only node that runs under .runtime/ is asked.')
    .action(async (prefix: string, options: NamesOptions) => end(await names(prefix, options)))
}

async function names(prefix: string, options: NamesOptions): Promise<number> {
  const output = Output.standard(options)
  const query = new URLSearchParams({ prefix, ...(options.scope === undefined ? {} : { scope: options.scope }) })
  const rows = await ask<NameRow[]>(await findNode(options), `/v1/names?${query}`)
  if (output.isJson) {
    output.json(rows)
    return EXIT_OK
  }
  output.table(rows, [
    { title: 'NAME', text: (row) => row.name },
    { title: 'SCOPE', text: (row) => row.scope },
    { title: 'PID', text: (row) => row.pid },
    { title: 'NODE', text: (row) => row.node },
  ])
  return EXIT_OK
}
