// What is published: a tarball that installs into an empty project, runs there, and has types that strict programs compile against.

import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const TSC = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
const TARBALL_BYTES_MAX = 8 * 1024 * 1024

const dir = mkdtempSync(join(tmpdir(), 'mm-package-'))
const project = join(dir, 'project')

/** Resolves with what it printed, or rejects with all of it. */
function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  return new Promise((done, fail) => {
    // Another npm runs this one: what that one was told must not reach it.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')))
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    child.on('error', fail)
    child.on('close', (code) => {
      if (code === 0) done(output)
      else fail(new Error(`${command} ${args.join(' ')} ended with ${code}:\n${output}`))
    })
  })
}

beforeAll(async () => {
  await run(ROOT, 'npm', 'pack', '--ignore-scripts', '--pack-destination', dir)
  const tarball = readdirSync(dir).find((name) => name.endsWith('.tgz')) ?? ''
  expect(statSync(join(dir, tarball)).size).toBeLessThan(TARBALL_BYTES_MAX)
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>
  }
  await run(dir, process.execPath, '-e', 'fs.mkdirSync("project")')
  const dependencies = { moonmesh: `file:../${tarball}`, '@types/node': devDependencies['@types/node'] }
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module', private: true, dependencies }))
  await run(project, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund')
}, 240_000)

afterAll(() => rmSync(dir, { recursive: true, force: true }))

test('the dashboard is part of it', () => {
  const files = readdirSync(join(project, 'node_modules/moonmesh/dist/runtime/admin/dashboard')).sort()
  expect(files).toEqual(['dashboard.css', 'dashboard.js', 'index.html'])
})

test('the installed command makes an app, checks it and runs its tests', { timeout: 60_000 }, async () => {
  await run(project, 'npx', 'moonmesh', 'init', 'my-app')
  expect(await run(project, 'npx', 'runtime', 'check', 'my-app/app.yaml')).toContain('process.lua')
  expect(await run(project, 'npx', 'runtime', 'test', 'my-app/app.yaml')).toContain('1 passed, 0 failed')
})

test('a strict program compiles against the installed types and runs', { timeout: 60_000 }, async () => {
  writeFileSync(
    join(project, 'main.ts'),
    `import { type ActorContext, createNode, defineActor, MoonmeshError, type Node } from 'moonmesh'

const greeter = defineActor('greeter', async (context: ActorContext, name) => {
  if (typeof name !== 'string') throw new MoonmeshError('Invalid', 'a name is a string')
  return \`hello, \${name}, from \${context.pid}\`
})
const node: Node = await createNode({ entries: [], actors: [greeter], log: false, set: ['node.data_dir=data'] })
await node.start()
console.log(await node.exec(greeter, { args: ['package'] }))
await node.stop()
`,
  )
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noPropertyAccessFromIndexSignature: true,
    noImplicitOverride: true,
    skipLibCheck: false,
    target: 'es2023',
    module: 'nodenext',
    types: ['node'],
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }))
  await run(project, process.execPath, TSC, '-p', '.')
  expect(await run(project, process.execPath, 'main.js')).toContain('hello, package, from ')
})
