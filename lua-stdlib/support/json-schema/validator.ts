// The validator (ajv) with what has to be otherwise for schemas and data of strangers: patterns without backtracking, equality in linear
// time, bounded work and depth; and with the gaps closed that it has beside draft 2020-12.

import type { Ajv2020, CodeKeywordDefinition, KeywordCxt, ValidateFunction } from 'ajv/dist/2020.js'
import type { SchemaEnv } from 'ajv/dist/compile/index.js'
import type { Json } from '../json-tree.ts'
import { lazily } from '../lazy.ts'
import { CHARGE, type Charge } from './adapted.ts'
import { canonical, equal } from './equality.ts'
import type { Meter } from './meter.ts'
import { linearPattern } from './pattern.ts'
import type { Pieces } from './pieces.ts'
import { isMembers } from './schema.ts'

const ajv = lazily<typeof import('ajv/dist/2020.js')>('ajv/dist/2020.js')
const references = lazily<typeof import('ajv/dist/vocabularies/core/ref.js')>('ajv/dist/vocabularies/core/ref.js')

type Validate = ((data: unknown, context?: unknown) => boolean) & { errors?: unknown[] | null; evaluated?: unknown }

/** What a reference leads to, once it is there. */
interface Target {
  validate?: ValidateFunction
}

interface Validator extends Ajv2020 {
  /**
   * The function for the first piece. Pieces are compiled one by one, and find each other when they run: a chain of references is no chain
   * of calls here.
   */
  compilePieces(pieces: Pieces): ValidateFunction
}

type ValidatorClass = new (meter: Meter, options: { meta: boolean }) => Validator

let made: ValidatorClass | undefined

/** The library is loaded with the first schema. */
export function newValidator(meter: Meter, options: { meta: boolean }): Validator {
  made ??= validatorClass()
  return new made(meter, options)
}

function validatorClass(): ValidatorClass {
  class AdaptedAjv extends ajv().Ajv2020 implements Validator {
    readonly #meter: Meter

    constructor(meter: Meter, options: { meta: boolean }) {
      const regExp = Object.assign((source: string) => linearPattern(source, meter), { code: '' })
      super({
        strict: false,
        validateFormats: false,
        validateSchema: false,
        verbose: true,
        logger: false,
        meta: options.meta,
        code: { regExp, process: (code) => `return self.bounded((() => {${code}\n})())` },
      })
      this.#meter = meter
      this.addKeyword({ keyword: CHARGE, before: '$ref', code: (cxt) => chargeCode(cxt, meter) })
      const spend = (work: number): void => meter.spend(work)
      this.#redefine('const', (cxt) => failUnless(cxt, (data) => equal(cxt.schema, data, spend)))
      this.#redefine('enum', (cxt) => failUnless(cxt, memberOf(cxt.schema, meter)))
      this.#redefine('multipleOf', (cxt) => failUnless(cxt, (data) => isMultiple(data as number, cxt.schema)))
      this.#redefine('uniqueItems', (cxt) => {
        // Which of them, ajv would say.
        cxt.setParams({ i: 0, j: 0 })
        if (cxt.schema === true) failUnless(cxt, (data) => allDiffer(data as Json[], meter))
      })
      this.#redefine('contains', containsCode)
      this.#redefine('unevaluatedItems', unevaluatedItemsCode)
    }

    /**
     * The function for the first piece. Pieces are compiled one by one, and find each other when they run: a chain of references is no chain
     * of calls here.
     */
    compilePieces({ pieces, asksForUnevaluated }: Pieces): ValidateFunction {
      // Keeping account of what is evaluated costs something at each reference.
      this.opts.unevaluated = asksForUnevaluated
      const targets: Target[] = pieces.map(() => ({}))
      this.#redefine('$ref', (cxt) => {
        const target = targets[Number(cxt.schema)] as Target
        const { gen } = cxt
        references().callRef(cxt, ajv()._`${gen.scopeValue('wrapper', { ref: target })}.validate`, target as SchemaEnv)
      })
      for (const [i, piece] of pieces.entries()) (targets[i] as Target).validate = this.compile(piece)
      return (targets[0] as Target).validate as ValidateFunction
    }

    /** Called by what ajv generates, once for each function: a check that may call others, and itself. */
    bounded(inner: Validate): Validate {
      const meter = this.#meter
      const outer: Validate = (data, context) => {
        meter.enter()
        try {
          const fits = inner(data, context)
          // Of many, the first and the outermost are asked for. A tree of choices would collect all errors of all branches.
          if (!fits && inner.errors && inner.errors.length > 2) inner.errors = [inner.errors[0], inner.errors.at(-1)]
          return fits
        } finally {
          meter.leave()
        }
      }
      // The generated code knows only the one, ajv only the other.
      Object.defineProperty(outer, 'errors', {
        get: () => inner.errors,
        set: (errors) => Object.assign(inner, { errors }),
      })
      Object.defineProperty(inner, 'evaluated', { get: () => outer.evaluated })
      return outer
    }

    /** In its place among the keywords, whose order matters. `original` is what ajv does. */
    #redefine(keyword: string, code: (cxt: KeywordCxt, original: (cxt: KeywordCxt) => void) => void): void {
      const definition = this.getKeyword(keyword) as CodeKeywordDefinition
      const { code: original } = definition
      definition.code = (cxt) => code(cxt, original)
    }
  }

  return AdaptedAjv
}

function chargeCode({ gen, data, schema }: KeywordCxt, meter: Meter): void {
  const { each, perMember } = schema as Charge
  const charge = (value: Json): void => {
    let work = each
    if (typeof value === 'string' || Array.isArray(value)) work += value.length / 32
    else if (perMember > 0 && isMembers(value)) work += perMember * Object.keys(value).length
    meter.spend(work)
  }
  gen.code(ajv()._`${gen.scopeValue('func', { ref: charge })}(${data})`)
}

function failUnless(cxt: KeywordCxt, fits: (data: Json) => boolean): void {
  cxt.fail(ajv()._`!${cxt.gen.scopeValue('func', { ref: fits })}(${cxt.data})`)
}

function memberOf(choices: readonly Json[], meter: Meter): (data: Json) => boolean {
  const isScalar = (value: Json): boolean => value === null || typeof value !== 'object'
  const scalars = new Set(choices.filter(isScalar))
  const texts = new Set(choices.filter((choice) => !isScalar(choice)).map(canonical))
  return (data) => {
    if (isScalar(data) || texts.size === 0) return scalars.has(data)
    const text = canonical(data)
    meter.spend(text.length / 8)
    return texts.has(text)
  }
}

/** Within what floats can tell: 0.3 counts as a multiple of 0.1. */
function isMultiple(value: number, divisor: number): boolean {
  const quotient = value / divisor
  return Math.abs(quotient - Math.round(quotient)) <= Math.abs(quotient) * 2 * Number.EPSILON
}

function allDiffer(items: readonly Json[], meter: Meter): boolean {
  const texts = new Set<string>()
  for (const item of items) {
    const text = canonical(item)
    meter.spend(1 + text.length / 8)
    if (texts.has(text)) return false
    texts.add(text)
  }
  return true
}

/** It does not mean that all items are evaluated, and nobody asks why the items that do not fit do not. */
function containsCode(cxt: KeywordCxt, original: (cxt: KeywordCxt) => void): void {
  const { it } = cxt
  const { items } = it
  const subschema: KeywordCxt['subschema'] = (applied, valid) =>
    cxt.subschema({ ...applied, createErrors: false }, valid)
  original(Object.create(cxt, { subschema: { value: subschema } }))
  if (items === undefined) delete it.items
  else it.items = items
}

/** Where only the run tells how many items are evaluated, it may tell `true` for all of them. */
function unevaluatedItemsCode(cxt: KeywordCxt, original: (cxt: KeywordCxt) => void): void {
  const { gen, it } = cxt
  if (it.items instanceof ajv().Name) {
    it.items = gen.const('evaluated', ajv()._`${it.items} === true ? Infinity : (${it.items} || 0)`)
  }
  original(cxt)
}
