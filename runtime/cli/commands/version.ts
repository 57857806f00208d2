// `runtime version`: of the package, of what it runs on, and of the wire.

import type { Command } from 'commander'
import { packageInfo } from '../../admin/package.ts'
import { DEFAULT_LUA } from '../../lua/engines.ts'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

export function addVersion(command: Command, end: (exitCode: number) => void): void {
  command
    .description('versions of moonmesh, Node.js, Lua and its engines, and the protocols between nodes')
    .action(async (options: CommonOptions) => end(await version(options)))
}

async function version(options: CommonOptions): Promise<number> {
  const output = Output.standard(options)
  const { WIRE } = await import('../../../cluster/wire-versions.ts')
  const { version: moonmesh, dependencies } = packageInfo()
  const versions = {
    moonmesh,
    node: process.version,
    lua: '5.3',
    engine: DEFAULT_LUA.engine,
    fengari: dependencies['fengari'],
  }
  if (output.isJson) output.json({ ...versions, wire: WIRE })
  else for (const [name, text] of Object.entries(versions)) output.line(`${name.padEnd(9)} ${text}`)
  if (!output.isJson) {
    const { gossip, mesh } = WIRE
    output.line(`gossip    ${gossip.speaks} (understands ${gossip.min} to ${gossip.max})`)
    output.line(`mesh      ${mesh.max} (understands ${mesh.min} to ${mesh.max})`)
  }
  return EXIT_OK
}
