// What README.md and docs/ say is true: their apps run and print what stands there, their Lua and TypeScript compiles, their links lead
// somewhere, and the reference pages leave nothing out.
//
// ```yaml app.yaml, ```lua x.lua, …   a file: written to the page's directory, where it replaces one of the same name
// ```sh                               commands run there; the next block, if it is ```text, shows lines of their output, in order
//                                     `exit=N` behind sh: the last command ends with N; `another terminal`: what was started before goes on
// ```ts main.ts, then ```text         compiled and run, with a plain tsconfig.json; a page with ```sh for that is followed instead
// <!-- all files first -->            the page tells its readers to save all files before they run anything

import { type ChildProcess, execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { libraryModules } from '../../lua-stdlib/index.ts'
import { entrySchemas, settingsSchema } from '../../runtime/app/schema.ts'
import { compileProblem } from '../../runtime/lua/check.ts'
import { VmEngine } from '../../runtime/lua/vm/engine.ts'
import { Cli, type CliResult, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'

const root = resolve(import.meta.dirname, '../..')
const pages = ['README.md', ...markdownBelow('docs'), ...markdownBelow('examples')]
const isRun = (page: string): boolean => !page.startsWith('examples')

function markdownBelow(dir: string): string[] {
  return readdirSync(join(root, dir), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
    .map((name) => join(dir, name))
    .sort()
}

const read = (page: string): string => readFileSync(join(root, page), 'utf8')

interface Block {
  /** Of its first line in the page. */
  line: number
  language: string
  /** What stands behind the language. */
  info: string
  text: string
}

function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = []
  let open: (Block & { fence: string }) | undefined
  for (const [i, row] of markdown.split('\n').entries()) {
    const fence = /^\s*```/.exec(row)?.[0]
    if (open === undefined && fence !== undefined) {
      const [language = '', ...info] = row.slice(fence.length).trim().split(' ')
      open = { line: i + 1, language, info: info.join(' '), text: '', fence }
    } else if (open !== undefined && row.startsWith(open.fence)) {
      blocks.push(open)
      open = undefined
    } else if (open !== undefined) open.text += `${row.slice(open.fence.length - 3)}\n`
  }
  return blocks
}

const isFile = ({ info }: Block): boolean => /^[\w./-]+\.\w+$/.test(info)

// ---- running a page

/** The words of a command line, with quotes as a shell reads them; a comment ends it. */
function words(line: string): string[] {
  const found = line.replace(/(^|\s)#.*$/, '').match(/'[^']*'|"[^"]*"|[^\s'"]+/g) ?? []
  return found.map((word) => word.replace(/^(['"])(.*)\1$/, '$2'))
}

/** What differs from run to run: times, PIDs, ports, the name of the machine. */
function steady(line: string): string {
  return line
    .replace(/\d\d:\d\d:\d\d\.\d{3}/g, 'TIME')
    .replace(/\{([\w:.-]+)\|[\w.]+\}/g, '{$1|PID}')
    .replace(/ #\w+ /g, ' #PID ')
    .replace(/127\.0\.0\.1:\d+/g, 'ADDRESS')
    .replace(/node \S+ is ready/g, 'node NAME is ready')
    .replace(/\b\d+(\.\d+)? ?(ms|s)\b/g, 'N $2')
    .replace(/\s+/g, ' ')
    .trim()
}

/** The first expected line that is not among the lines of either stream, behind those found before it. */
function missingLine(expected: string, streams: readonly string[]): string | undefined {
  const lines = streams.map((text) => text.split('\n').map(steady))
  const cursors = streams.map(() => 0)
  for (const line of expected.split('\n').map(steady)) {
    if (line === '' || line === '…') continue
    const places = lines.map((stream, i) => stream.indexOf(line, cursors[i]))
    const stream = places.findIndex((place) => place >= 0)
    if (stream < 0) return line
    cursors[stream] = (places[stream] as number) + 1
  }
  return undefined
}

/** One reader who follows a page from its beginning to its end. */
class Reader {
  readonly cli = new Cli()
  #cwd = this.cli.dir
  readonly #running: Program[] = []
  readonly #env = { RUNTIME_LOGGER__FORMAT: 'pretty', RUNTIME_ADMIN__HTTP: '127.0.0.1:0', NO_COLOR: '1' }

  write({ info, text }: Block): void {
    const path = join(this.#cwd, info)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }

  /** Runs the commands of a block, one after the other. */
  async follow({ text, info }: Block, expected: string | undefined): Promise<void> {
    if (!info.includes('another terminal')) await this.stop()
    const lines = text
      .split('\n')
      .map(words)
      .filter((line) => line.length > 0)
    const exitCode = Number(/exit=(\d+)/.exec(info)?.[1] ?? 0)
    for (const [i, line] of lines.entries()) {
      const isLast = i === lines.length - 1
      await this.#command(line, { exitCode: isLast ? exitCode : 0, expected: isLast ? expected : undefined })
    }
  }

  async #command(line: string[], { exitCode, expected }: { exitCode: number; expected: string | undefined }) {
    const isOurs = line[0] === 'npx' && (line[1] === 'moonmesh' || line[1] === 'runtime')
    const [program, ...args] = isOurs ? ['runtime', ...line.slice(2)] : line
    if (program === 'cd') {
      this.#cwd = resolve(this.#cwd, args[0] as string)
    } else if (program === 'npx' && args[0] === 'tsc') {
      await this.#tsc()
    } else if (program === 'runtime' && args[0] === 'run' && !args.includes('--exec') && exitCode === 0) {
      await this.#serve(args, expected)
    } else if (program === 'runtime') {
      const file = args.at(-2) === '>' ? args.splice(-2)[1] : undefined
      const result = await this.cli.run(args, { cwd: this.#cwd, env: this.#env })
      check(result, exitCode, expected)
      if (file !== undefined) writeFileSync(join(this.#cwd, file), result.stdout)
    } else if (program === 'node') {
      check(await this.#node(args), exitCode, expected)
    } else if (program !== 'npm') throw new Error(`no reader knows how to run: ${line.join(' ')}`)
  }

  async #serve(args: string[], expected = 'node NAME is ready'): Promise<void> {
    const app = this.cli.start(args, { cwd: this.#cwd, env: this.#env })
    this.#running.push(app)
    if (expected === 'node NAME is ready') return app.until('is ready')
    await eventually(
      () => {
        const missing = missingLine(expected, [app.stdout, app.stderr])
        if (missing !== undefined) throw new Error(`not printed: ${missing}\n${app.stdout}\n${app.stderr}`)
      },
      { timeoutMs: 20_000 },
    )
  }

  /** Compiles a program and runs it. */
  async program({ info }: Block, expected: string): Promise<void> {
    await this.stop()
    const compilerOptions = { target: 'es2023', module: 'nodenext', types: ['node'], strict: true }
    writeFileSync(join(this.#cwd, 'package.json'), JSON.stringify({ type: 'module' }))
    writeFileSync(join(this.#cwd, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [info] }))
    await this.#tsc()
    check(await this.#node([info.replace(/\.ts$/, '.js')]), 0, expected)
  }

  #node(args: string[]): Promise<CliResult> {
    const env = { ...process.env, ...this.#env }
    return new Promise((done) => {
      const child: ChildProcess = execFile(process.execPath, args, { cwd: this.#cwd, env }, (_error, stdout, stderr) =>
        done({ code: child.exitCode, signal: child.signalCode, stdout, stderr }),
      )
    })
  }

  /** As if `npm install moonmesh typescript @types/node` had been run. */
  async #tsc(): Promise<void> {
    const modules = join(this.#cwd, 'node_modules')
    if (!existsSync(modules)) {
      mkdirSync(modules)
      symlinkSync(root, join(modules, 'moonmesh'))
      symlinkSync(join(root, 'node_modules/@types'), join(modules, '@types'))
    }
    const run = promisify(execFile)(join(root, 'node_modules/.bin/tsc'), { cwd: this.#cwd })
    await run.catch((error: { stdout: string }) => expect.fail(`does not compile:\n${error.stdout}`))
  }

  /** Ctrl-C. */
  async stop(): Promise<void> {
    const apps = this.#running.splice(0)
    for (const app of apps) app.signal('SIGINT')
    // 0: a command of the page has stopped it.
    for (const app of apps) expect([0, 130]).toContain((await app.exit()).code)
  }

  async close(): Promise<void> {
    await this.cli.close()
  }
}

function check({ code, stdout, stderr }: CliResult, exitCode: number, expected = ''): void {
  const transcript = `${stdout}\n${stderr}`
  expect(code, transcript).toBe(exitCode)
  expect(missingLine(expected, [stdout, stderr]), transcript).toBeUndefined()
}

describe.each(pages)('%s', (page) => {
  const blocks = blocksOf(read(page))

  test('its links lead somewhere', () => {
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? join(root, page) : resolve(root, dirname(page), path)
      expect(existsSync(file), `${target} does not exist`).toBe(true)
      if (anchor !== undefined) expect(anchorsOf(relative(root, file)), target).toContain(anchor)
    }
  })

  const lua = blocks.filter(({ language }) => language === 'lua')
  if (lua.length > 0) {
    test('its Lua compiles', async () => {
      const compile = compileProblem()
      for (const { line, text } of lua)
        expect(await compile('docs:block', text), `block at line ${line}`).toBeUndefined()
    })
  }

  const yaml = blocks.filter(({ language }) => language === 'yaml')
  if (yaml.length > 0) {
    test('its YAML is well-formed', () => {
      for (const { line, text } of yaml) expect(() => parse(text), `block at line ${line}`).not.toThrow()
    })
  }

  if (isRun(page) && blocks.some(({ language }) => language === 'sh')) {
    describe('followed from the beginning', () => {
      let reader: Reader
      beforeAll(() => {
        reader = new Reader()
        if (!read(page).includes('<!-- all files first -->')) return
        for (const file of blocks.filter(isFile)) reader.write(file)
      })
      afterAll(() => reader.close())

      let files: Block[] = []
      for (const [i, block] of blocks.entries()) {
        if (isFile(block)) files.push(block)
        const next = blocks[i + 1]
        const expected = next?.language === 'text' ? next.text : undefined
        const isProgram = block.language === 'ts' && expected !== undefined
        if (block.language !== 'sh' && !isProgram) continue
        const toWrite = files
        files = []
        const what = isProgram ? block.info : block.text.trim().replaceAll('\n', '; ')
        test(`line ${block.line}: ${what}`, async () => {
          for (const file of toWrite) reader.write(file)
          if (isProgram) await reader.program(block, expected)
          else await reader.follow(block, expected)
        })
      }
      test('and stopped', () => reader.stop())
    })
  }
})

function anchorsOf(page: string): string[] {
  const prose = read(page).replace(/^```[\s\S]*?^```/gm, '')
  return [...prose.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

// ---- nothing is left out

describe('docs/reference/lua.md and the pages of modules', () => {
  const all = ['docs/reference/lua.md', ...markdownBelow('docs/reference/lua')].map(read).join('\n')
  const engine = new VmEngine()
  test.each(libraryModules.map((module) => [module.name, module] as const))(
    'names every member of %s',
    (name, module) => {
      const page = `docs/reference/lua/${name}.md`
      // What has a page of its own is told there: another page may have a member of the same name.
      const text = existsSync(join(root, page)) ? read(page) : all
      for (const member of membersOf(module.build(engine))) expect(text).toContain(`\`${name}.${member}`)
      for (const member of Object.keys(module.globals ?? {})) expect(all).toContain(`\`${member}(`)
      for (const { methods } of module.classes ?? []) {
        for (const method of Object.keys(methods)) expect(text).toContain(`:${method}(`)
      }
    },
  )
})

/** Functions and constants, also of nested tables. Months, days, layouts and the like are named as groups. */
function membersOf(table: object): string[] {
  return Object.entries(table).flatMap(([name, value]) => {
    const isNested = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
    if (isNested && name === 'registry') return membersOf(value).map((member) => `${name}.${member}`)
    return typeof value === 'function' ? [name] : []
  })
}

describe('docs/reference/app-file.md', () => {
  const text = read('docs/reference/app-file.md')
  test('names every setting', () => {
    for (const path of pathsOf(settingsSchema)) expect(text).toContain(`\`${path}\``)
  })
  test.each(Object.entries(entrySchemas))('names every field of %s', (kind, schema) => {
    expect(text).toContain(`\`${kind}\``)
    for (const path of pathsOf(schema)) expect(text).toContain(`\`${path}\``)
  })
})

/** The paths of the leaves of an object schema: `restart.max_delay`. */
function pathsOf(schema: unknown, prefix = ''): string[] {
  let current = schema as { shape?: Record<string, unknown>; def?: { innerType?: unknown; in?: unknown } } | undefined
  while (current !== undefined && current.shape === undefined) {
    current = (current.def?.innerType ?? current.def?.in) as typeof current
  }
  if (current?.shape === undefined) return [prefix]
  return Object.entries(current.shape).flatMap(([key, inner]) =>
    pathsOf(inner, prefix === '' ? key : `${prefix}.${key}`),
  )
}

describe('docs/reference/cli.md', () => {
  test('names every command and every option', async () => {
    const text = read('docs/reference/cli.md')
    const cli = new Cli()
    try {
      const { stdout } = await cli.run(['--help'])
      const commands = [...stdout.matchAll(/^ {2}([a-z]+) .*$/gm)]
        .map(([, name = '']) => name)
        .filter((name) => name !== 'help')
      expect(commands).toContain('run')
      for (const command of commands) {
        expect(text).toContain(`runtime ${command}`)
        const help = await cli.run([command, '--help'])
        for (const [option] of help.stdout.matchAll(/(?<=^ +(?:-\w, )?)--[a-z-]+/gm)) expect(text).toContain(option)
      }
    } finally {
      await cli.close()
    }
  })
})
