/* Says to callgrind from where to where it counts, and of which stage each Python call is.

   CPython calls `evaluate` for each frame (PEP 523). It runs the frame inside a C function of the frame's stage, named
   ".stage_<number>". callgrind is told to skip all other functions, so their cost counts for the stage that called
   them. See loadtests/count.py. */

#define Py_BUILD_CORE_MODULE 1
#include <Python.h>
#include <internal/pycore_frame.h>
#include <valgrind/callgrind.h>

#define STAGES 40

typedef struct _PyInterpreterFrame Frame;
typedef PyObject *evaluator(PyThreadState *, Frame *, int);

static Py_ssize_t slot;
static PyObject *classify;

/* `volatile` keeps the compiler from replacing the call by a jump, which would take the function off the stack. */
#define STAGE(number)                                                                      \
    PyObject *stage_##number(PyThreadState *, Frame *, int) __asm__(".stage_" #number);    \
    __attribute__((noinline)) PyObject *stage_##number(PyThreadState *t, Frame *f, int x)  \
    {                                                                                      \
        PyObject *volatile result = _PyEval_EvalFrameDefault(t, f, x);                     \
        return result;                                                                     \
    }
#define TEN(tens)                                                                    \
    STAGE(tens##0) STAGE(tens##1) STAGE(tens##2) STAGE(tens##3) STAGE(tens##4)       \
    STAGE(tens##5) STAGE(tens##6) STAGE(tens##7) STAGE(tens##8) STAGE(tens##9)
#define NAMES(tens)                                                                                    \
    stage_##tens##0, stage_##tens##1, stage_##tens##2, stage_##tens##3, stage_##tens##4,               \
    stage_##tens##5, stage_##tens##6, stage_##tens##7, stage_##tens##8, stage_##tens##9
TEN(1) TEN(2) TEN(3) TEN(4)

static evaluator *const stages[STAGES] = {NAMES(1), NAMES(2), NAMES(3), NAMES(4)};

static PyCodeObject *code_of(Frame *frame)
{
#if PY_VERSION_HEX >= 0x030C0000
    return (PyCodeObject *)PyUnstable_InterpreterFrame_GetCode((struct _PyInterpreterFrame *)frame);
#else
    return frame->f_code;
#endif
}

/* One more than the number of the code's stage, as Python says; 0 and an exception if it fails. */
static size_t first_seen(PyThreadState *thread, PyObject *code)
{
    PyInterpreterState *interpreter = PyThreadState_GetInterpreter(thread);
    _PyFrameEvalFunction ours = _PyInterpreterState_GetEvalFrameFunc(interpreter);
    _PyInterpreterState_SetEvalFrameFunc(interpreter, _PyEval_EvalFrameDefault);
    PyObject *number = PyObject_CallOneArg(classify, code);
    _PyInterpreterState_SetEvalFrameFunc(interpreter, ours);
    if (number == NULL)
        return 0;
    size_t stage = PyLong_AsSize_t(number) + 1;
    Py_DECREF(number);
    if (stage > STAGES || _PyCode_SetExtra(code, slot, (void *)stage) < 0) {
        PyErr_Format(PyExc_RuntimeError, "no stage %zu: loadtests/hook.c has %d", stage, STAGES);
        return 0;
    }
    return stage;
}

static PyObject *evaluate(PyThreadState *thread, Frame *frame, int throwing)
{
    PyObject *code = (PyObject *)code_of(frame);
    void *stage = NULL;
    _PyCode_GetExtra(code, slot, &stage);
    if (stage == NULL && (stage = (void *)first_seen(thread, code)) == NULL)
        return NULL;
    return stages[(size_t)stage - 1](thread, frame, throwing);
}

/* From here on each call goes through its stage; `function` gives the number of a code object's stage. */
void install(PyObject *function)
{
    slot = _PyEval_RequestCodeExtraIndex(NULL);
    Py_INCREF(function);
    classify = function;
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), evaluate);
}

void begin(void)
{
    CALLGRIND_START_INSTRUMENTATION;
}

void end(void)
{
    CALLGRIND_STOP_INSTRUMENTATION;
}
