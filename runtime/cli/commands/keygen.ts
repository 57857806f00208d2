// `runtime keygen`: a key for the gossip of a cluster.

import { randomBytes } from 'node:crypto'
import { type Command, Option } from 'commander'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

interface KeygenOptions extends CommonOptions {
  bytes: string
}

const HELP = `
All nodes of a cluster have the same key, as cluster.membership.secret_key or in the file that cluster.membership.secret_file names.

Examples:
  runtime keygen > gossip.key && chmod 600 gossip.key
  RUNTIME_CLUSTER__MEMBERSHIP__SECRET_KEY=$(runtime keygen) runtime run app.yaml`

export function addKeygen(command: Command, end: (exitCode: number) => void): void {
  command
    .description('print a new key that gossip between nodes is encrypted with')
    .addOption(
      new Option('--bytes <count>', 'its length: 16, 24 or 32 for AES-128, -192 or -256')
        .choices(['16', '24', '32'])
        .default('32'),
    )
    .addHelpText('after', HELP)
    .action((options: KeygenOptions) => end(keygen(options)))
}

function keygen(options: KeygenOptions): number {
  const output = Output.standard(options)
  const bytes = Number(options.bytes)
  const key = randomBytes(bytes).toString('base64')
  // Nothing but the key: the line goes into files and variables.
  if (output.isJson) output.json({ key, bytes })
  else output.line(key)
  return EXIT_OK
}
